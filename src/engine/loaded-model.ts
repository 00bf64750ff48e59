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
  /** What the passes that made tokens took. */
  readonly passTimes: PassTimes;
  /** Null without predictors, or where they are not asked for. */
  readonly predictor: Predictor | null;
  /** The first of the plan's memories. */
  readonly memory: WebAssembly.Memory;
}
