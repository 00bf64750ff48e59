/**
 * A layer's FFN as the transformer sees it, whichever units it computes. A call has two halves: `begin` needs
 * the input alone and starts what can be started, `finish` computes. Between them other work may be done that
 * the FFN does not depend on, such as a parallel block's attention. Where a router chooses by the layer's
 * input, `beginEarly` is the first half, and attention runs between the halves.
 *
 * There are two implementations, since each is slower at the other's work: `DenseFfn` passes over all units
 * where they lie, `SparseFfn` over a list of those that a selector wants.
 */

import type { FfnHook } from './ffn-hook.ts';
import type { FfnInput } from './selection.ts';

/** Where the result goes, and the biases of the neurons. */
export interface FfnOutput {
  /** (positions, hidden), to which the result is added. */
  readonly y: number;
  /** (neurons) each, or 0: of up rows, and of gates. */
  readonly bias: number;
  readonly gateBias: number;
}

/**
 * Activations over all positions: their number, including those not computed, and the number that is not 0.
 */
export interface FfnCounts {
  readonly neurons: number;
  readonly active: number;
}

/** An FFN that has begun; its input stays where it is until the end. */
export interface BegunFfn {
  /** y += the contributions of the chosen units. */
  finish(output: FfnOutput): Promise<FfnCounts>;
  /** Ends it without a result. */
  abandon(): Promise<void>;
}

export interface Ffn {
  /** @param hook is called where every unit is computed */
  begin(input: FfnInput, hook?: FfnHook): BegunFfn;
  /**
   * Begins an FFN before attention, where the choice of units depends on the layer's input, `input.residual`.
   * The values at `input.x` are written later, before `finish`.
   * @returns null where the choice depends on the FFN's input
   */
  beginEarly?(input: FfnInput, hook?: FfnHook): Promise<BegunFfn | null>;
}
