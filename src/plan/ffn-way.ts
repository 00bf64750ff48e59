/** How FFNs are read at a budget, and the expected cost: see `planCheaper`. */

/**
 * How a layer's FFN is read. `chosen`: the neurons that a token wants and misses. `whole`: these are so many
 * that reads pass over all rows of the layer that are not in DRAM. `exact`: all rows, as a stream; every
 * neuron is computed.
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
  /** Of a whole token, including attention and head. */
  readonly sparseMs: number;
  readonly exactMs: number;
  /** Per layer of the model. */
  readonly layers: readonly LayerChoice[];
}
