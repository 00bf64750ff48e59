/** What a forward pass is asked for, and who looks on. */

import type { NeuronObserver } from './arena.ts';
import type { BestLogits } from './sampler.ts';
import type { FfnInput } from './sparse-ffn.ts';

/** Looks on while every neuron is computed. */
export interface FfnObserver extends NeuronObserver {
  /** An FFN begins. */
  input(call: FfnInput): void;
}

export interface ForwardOptions {
  /** Asked whenever the event loop has turned, between two layers: whether to break the pass off. */
  readonly interrupted?: () => boolean;
  readonly observer?: FfnObserver | undefined;
}

/**
 * Of which rows of a sequence the logits are computed. `best`: of the last, and only so many of the
 * largest need be right; others may be -Infinity.
 */
export type LogitsWanted = 'none' | 'last' | 'all' | BestLogits;
