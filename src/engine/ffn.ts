/**
 * A layer's FFN as the transformer sees it, whichever units it computes. A call has two halves: `begin`
 * needs the input alone and starts what can be started, `finish` computes. Between them other work may
 * be done that the FFN does not wait for, as a parallel block's attention. Where a router chooses by what
 * comes into the layer, `beginEarly` is the first half, and attention lies between.
 *
 * There are two inner loops behind this, since either loses at the other's work: `DenseFfn` passes over
 * all units where they lie, `SparseFfn` over a list of those that a selector wants.
 */

import type { FfnHook } from './ffn-hook.ts';
import type { FfnInput } from './selection.ts';

/** Where the result goes, and what the neurons compute with besides weights and input. */
export interface FfnOutput {
  /** (positions, hidden), to which the result is added. */
  readonly y: number;
  /** (neurons) each, or 0: of up rows, and of gates. */
  readonly bias: number;
  readonly gateBias: number;
}

/** Activations over all positions: how many there are, those not computed included, and how many not 0. */
export interface FfnCounts {
  readonly neurons: number;
  readonly active: number;
}

/** An FFN that has begun; its input stays where it is until the end. */
export interface BegunFfn {
  /** y += sum over the chosen units of what they contribute. */
  finish(output: FfnOutput): Promise<FfnCounts>;
  /** Ends it without a result. */
  abandon(): Promise<void>;
}

export interface Ffn {
  /** @param hook is called where every unit is computed */
  begin(input: FfnInput, hook?: FfnHook): BegunFfn;
  /**
   * Begins before attention what is chosen by what comes into the layer, `input.residual`. Values at
   * `input.x` come later, before `finish`.
   * @returns null where a layer's choice is made by the FFN's input
   */
  beginEarly?(input: FfnInput, hook?: FfnHook): Promise<BegunFfn | null>;
}
