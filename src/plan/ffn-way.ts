/** How FFNs are read at a budget, and what that is expected to cost: see `planCheaper`. */

/**
 * How a layer's FFN is read. `chosen`: the neurons that a token wants and misses. `whole`: so many of
 * them that reads pass over all of the layer that is not in DRAM. `exact`: all rows, as a stream, and
 * every neuron is computed.
 */
export type FfnWay = 'chosen' | 'whole' | 'exact';

/** Milliseconds per token, as `tokenCost` expects them. */
export interface LayerChoice {
  readonly way: FfnWay;
  /** With predictors, and with every neuron computed. */
  readonly sparseMs: number;
  readonly exactMs: number;
}

export interface FfnChoice {
  /** Whether the plan uses predictors. */
  readonly sparse: boolean;
  /** Of a whole token, attention and head included. */
  readonly sparseMs: number;
  readonly exactMs: number;
  /** Per layer of the model. */
  readonly layers: readonly LayerChoice[];
}
