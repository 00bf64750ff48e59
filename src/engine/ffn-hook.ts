/** Hooks into FFNs in which every neuron is computed. */

import type { FfnInput, WeightSelection } from './selection.ts';

/** Activations of some neurons, before their contributions are made. */
export interface NeuronBlock {
  readonly memory: WebAssembly.Memory;
  /** (positions, stride) f32 */
  readonly address: number;
  readonly stride: number;
  /** Neurons [first, first + count) of the layer. */
  readonly first: number;
  readonly count: number;
  /** Positions [position, position + positions) of the pass. */
  readonly position: number;
  readonly positions: number;
}

export interface NeuronHook {
  /** Sees the activations of a block, and may change them. */
  activations(block: NeuronBlock): void;
}

/** Is called while every neuron is computed. */
export interface FfnHook extends NeuronHook {
  /** An FFN begins. */
  input(call: FfnInput): void;
  /**
   * The router of a layer has chosen.
   * @param selection in buffers of the engine, which the next layer uses again
   * @param logits (positions, experts), likewise
   */
  routed?(layer: number, selection: WeightSelection, logits: Float32Array): void;
}
