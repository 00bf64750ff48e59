/** A model and its draft, open together within one budget. */

import { Model } from '../../../src/engine/model.ts';
import type { RunRequest } from '../../../src/engine/run-request.ts';
import { Runtime } from '../../../src/engine/runtime.ts';
import type { Drafter } from '../../../src/engine/speculation/draft.ts';
import {
  type DraftOptions,
  openDraft,
  withDraft,
} from '../../../src/engine/speculation/open-draft.ts';
import type { OpenOptions } from '../../../src/flash/model-files.ts';

export interface Pair {
  /** Directories. */
  readonly large: string;
  readonly small: string;
  /** The budget in addition to what the process takes. */
  readonly weightBytes: number;
  readonly request: Omit<RunRequest, 'budget'>;
  readonly draft: Omit<DraftOptions, 'source'>;
  /** For opening each. */
  readonly largeOptions?: OpenOptions;
  readonly smallOptions?: OpenOptions;
}

/** @param alone the request without a draft */
type PairWork<T> = (runtime: Runtime, drafter: Drafter, alone: RunRequest) => Promise<T>;

/** Opens both, gives them to `work`, and closes them. */
export async function withPair<T>(pair: Pair, work: PairWork<T>): Promise<T> {
  const model = await Model.open(pair.large, pair.largeOptions);
  const source = await Model.open(pair.small, pair.smallOptions);
  try {
    const { items } = model.floor({ context: 1 });
    const budget = pair.weightBytes + (items.find(({ id }) => id === 'process')?.bytes ?? 0);
    const alone = { ...pair.request, budget };
    const options = { ...pair.draft, source };
    const whole = withDraft(model, alone, options);
    const runtime = await Runtime.open(model, whole);
    try {
      const draft = await openDraft(runtime, whole, options);
      try {
        return await work(runtime, draft.drafter, alone);
      } finally {
        await draft.close();
      }
    } finally {
      await runtime.close();
    }
  } finally {
    model.close();
    source.close();
  }
}
