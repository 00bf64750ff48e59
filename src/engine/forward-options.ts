/** What a forward pass is asked for, and what is hooked into it. */

import type { FfnHook } from './ffn-hook.ts';
import type { BestLogits } from './sampler.ts';

export interface ForwardOptions {
  /** Asked whenever the event loop has turned, between two layers: whether to break the pass off. */
  readonly interrupted?: () => boolean;
  readonly hook?: FfnHook | undefined;
}

/**
 * Of which rows of a sequence the logits are computed. `best`: of the last, and only so many of the
 * largest need be right; others may be -Infinity.
 */
export type LogitsWanted = 'none' | 'last' | 'all' | BestLogits | EachWanted;

/** Of each row on its own: all logits, or so many of the largest. */
export interface EachWanted {
  readonly each: readonly ('last' | BestLogits)[];
}

export function isEachWanted(wanted: LogitsWanted): wanted is EachWanted {
  return typeof wanted === 'object' && 'each' in wanted;
}
