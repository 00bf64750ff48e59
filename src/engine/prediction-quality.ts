/**
 * Runs FFNs as generation with predictors would, but computes every neuron to measure what the predictors
 * leave out: the activations of neurons that are not predicted are then set to 0.
 */

import type { FfnHook, NeuronBlock } from './ffn-hook.ts';
import { BitSelection, type FfnInput, type Selector } from './selection.ts';

/** Shares over all layers and tokens seen. */
export interface PredictionQuality {
  /** Share of the neurons that fired which were predicted. */
  readonly recall: number;
  /** Share of the predicted neurons which fired. */
  readonly precision: number;
  /** Share of the sum of activations that was kept. */
  readonly mass: number;
  /** Shares of all neurons that fired, and that were predicted. */
  readonly active: number;
  readonly predicted: number;
}

export class QualityHook implements FfnHook {
  readonly #selector: Selector<BitSelection>;
  /** The neurons that the FFN in progress would compute. */
  readonly #selection: BitSelection;
  /** Called for each position of each layer with the neurons it wants. */
  readonly #onWanted: (layer: number, wanted: Uint32Array) => void;
  /** If given, called for each position of each layer with the neurons that fire. */
  readonly #onFired: ((layer: number, fired: readonly number[]) => void) | undefined;
  #layer = 0;
  /** Per position of the call, over the blocks so far. */
  #firing: number[][] = [];
  #fired = 0;
  #predictedCount = 0;
  #hits = 0;
  #neurons = 0;
  #mass = 0;
  #kept = 0;

  /** @param most neurons of a layer, and positions at once */
  constructor(
    selector: Selector<BitSelection>,
    most: { readonly units: number; readonly rows: number },
    onWanted: (layer: number, wanted: Uint32Array) => void,
    onFired?: (layer: number, fired: readonly number[]) => void,
  ) {
    this.#selector = selector;
    this.#selection = new BitSelection(most);
    this.#onWanted = onWanted;
    this.#onFired = onFired;
  }

  input(call: FfnInput): void {
    this.#layer = call.layer;
    if (this.#onFired) {
      while (this.#firing.length < call.positions) this.#firing.push([]);
      for (const ids of this.#firing) ids.length = 0;
    }
    const { count } = this.#selector.select(call, this.#selection);
    this.#neurons += count * call.positions;
    for (let p = 0; p < call.positions; p++) {
      const wanted = this.#selection.unitsOf(p);
      this.#predictedCount += wanted.length;
      this.#onWanted(call.layer, wanted);
    }
  }

  activations({ memory, address, stride, first, count, position, positions }: NeuronBlock): void {
    for (let p = 0; p < positions; p++) {
      const row = new Float32Array(memory.buffer, address + p * stride * 4, count);
      for (let i = 0; i < count; i++) {
        const value = row[i] ?? 0;
        if (value === 0) continue;
        this.#firing[position + p]?.push(first + i);
        this.#fired++;
        this.#mass += Math.abs(value);
        if (this.#selection.has(position + p, first + i)) {
          this.#hits++;
          this.#kept += Math.abs(value);
        } else {
          row[i] = 0;
        }
      }
    }
    if (first + count < this.#selection.count) return;
    for (const fired of this.#firing.slice(position, position + positions)) {
      this.#onFired?.(this.#layer, fired);
    }
  }

  get quality(): PredictionQuality {
    const share = (part: number, whole: number) => (whole === 0 ? 1 : part / whole);
    return {
      recall: share(this.#hits, this.#fired),
      precision: share(this.#hits, this.#predictedCount),
      mass: share(this.#kept, this.#mass),
      active: share(this.#fired, this.#neurons),
      predicted: share(this.#predictedCount, this.#neurons),
    };
  }
}
