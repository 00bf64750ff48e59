/** The options of a forward pass, and hooks into it. */

import type { FfnHook } from './ffn-hook.ts';
import type { BestLogits } from './sampler.ts';

export interface ForwardOptions {
  /** Called between two layers whenever the event loop has run: whether to break the pass off. */
  readonly interrupted?: () => boolean;
  readonly hook?: FfnHook | undefined;
}

/**
 * The rows of a sequence whose logits are computed. `best`: those of the last row, where only the `best`
 * largest need be exact; others may be -Infinity.
 */
export type LogitsWanted = 'none' | 'last' | 'all' | BestLogits | EachWanted;

/** For each row separately: all logits, or a number of the largest. */
export interface EachWanted {
  readonly each: readonly ('last' | BestLogits)[];
}

export function isEachWanted(wanted: LogitsWanted): wanted is EachWanted {
  return typeof wanted === 'object' && 'each' in wanted;
}
