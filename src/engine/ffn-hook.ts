/** What may be hooked into FFNs of which every neuron is computed. */

import type { FfnInput } from './selection.ts';

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
}
