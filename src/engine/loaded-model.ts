/** A loaded model as its sequences see it. */

import type { MemoryPlan } from '../plan/memory-plan.ts';
import type { Model } from './model.ts';
import type { PassTimes } from './pass-times.ts';
import type { Predictor } from './predictor.ts';
import type { RuntimeStats } from './stats.ts';

export interface LoadedModel {
  readonly model: Model;
  readonly plan: MemoryPlan;
  readonly stats: RuntimeStats;
  /** The durations of passes that made tokens. */
  readonly passTimes: PassTimes;
  /** Null without predictors, or where the request does not use them. */
  readonly predictor: Predictor | null;
  /** The first of the plan's memories. */
  readonly memory: WebAssembly.Memory;
}
