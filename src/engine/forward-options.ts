/** What a forward pass is asked for, and what is hooked into it. */

import type { NeuronHook } from './arena.ts';
import type { BestLogits } from './sampler.ts';
import type { FfnInput } from './selection.ts';

/** Is called while every neuron is computed; may change activations. */
export interface FfnHook extends NeuronHook {
  /** An FFN begins. */
  input(call: FfnInput): void;
}

export interface ForwardOptions {
  readonly signal?: AbortSignal;
  readonly hook?: FfnHook;
}

/**
 * Of which positions of a chunk the logits are computed. `best`: of the last, and only so many of the
 * largest need be right; others may be -Infinity.
 */
export type LogitsWanted = 'none' | 'last' | 'all' | BestLogits;
