/**
 * Runs FFNs as generation with predictors would, with every neuron computed, so that it is known what
 * was left out: neurons that are not predicted count as 0 from then on.
 */

import type { BundleLayer } from '../flash/manifest.ts';
import { bitWords } from '../plan/list-layout.ts';
import type { NeuronBlock } from './arena.ts';
import type { FfnObserver } from './forward-options.ts';
import type { Predictor } from './predictor.ts';
import type { FfnInput } from './sparse-ffn.ts';

/** Shares over all layers and tokens seen. */
export interface PredictionQuality {
  /** Of the neurons that fired, those that were predicted. */
  readonly recall: number;
  /** Of those predicted, those that fired. */
  readonly precision: number;
  /** Of the sum of activations, what was kept. */
  readonly mass: number;
  /** Of all neurons, those that fired, and those that were predicted. */
  readonly active: number;
  readonly predicted: number;
}

export class QualityObserver implements FfnObserver {
  readonly #predictor: Predictor;
  readonly #memory: WebAssembly.Memory;
  readonly #layers: readonly BundleLayer[];
  /** Called for each position of each layer with the neurons it wants. */
  readonly #onWanted: (layer: number, wanted: Uint32Array) => void;
  /** Called for each position of each layer with the neurons that fire, where that is asked for. */
  readonly #onFired: ((layer: number, fired: readonly number[]) => void) | undefined;
  #layer = 0;
  /** Per position of the call, of the blocks so far. */
  #firing: number[][] = [];
  #bits = new Uint32Array();
  #words = 0;
  #fired = 0;
  #predictedCount = 0;
  #hits = 0;
  #neurons = 0;
  #mass = 0;
  #kept = 0;

  /** @param memory the first one */
  constructor(
    predictor: Predictor,
    memory: WebAssembly.Memory,
    layers: readonly BundleLayer[],
    onWanted: (layer: number, wanted: Uint32Array) => void,
    onFired?: (layer: number, fired: readonly number[]) => void,
  ) {
    this.#onFired = onFired;
    this.#predictor = predictor;
    this.#memory = memory;
    this.#layers = layers;
    this.#onWanted = onWanted;
  }

  input({ layer, x, residual, positions }: FfnInput): void {
    const { neurons = 0 } = this.#layers[layer] ?? {};
    this.#layer = layer;
    if (this.#onFired) {
      while (this.#firing.length < positions) this.#firing.push([]);
      for (const ids of this.#firing) ids.length = 0;
    }
    this.#predictor.predict(layer, x, residual, positions);
    this.#words = bitWords(neurons);
    const bits = new Uint32Array(
      this.#memory.buffer,
      this.#predictor.bits,
      positions * this.#words,
    );
    this.#bits = bits.slice();
    this.#neurons += neurons * positions;
    for (let p = 0; p < positions; p++) {
      const row = this.#bits.subarray(p * this.#words, (p + 1) * this.#words);
      const wanted = idsOf(row);
      this.#predictedCount += wanted.length;
      this.#onWanted(layer, wanted);
    }
  }

  activations({ memory, address, stride, first, count, positions }: NeuronBlock): void {
    for (let p = 0; p < positions; p++) {
      const row = new Float32Array(memory.buffer, address + p * stride * 4, count);
      const bits = this.#bits.subarray(p * this.#words, (p + 1) * this.#words);
      for (let i = 0; i < count; i++) {
        const value = row[i] ?? 0;
        if (value === 0) continue;
        const id = first + i;
        this.#firing[p]?.push(id);
        this.#fired++;
        this.#mass += Math.abs(value);
        if ((((bits[id >> 5] ?? 0) >>> (id & 31)) & 1) === 1) {
          this.#hits++;
          this.#kept += Math.abs(value);
        } else {
          row[i] = 0;
        }
      }
    }
    if (first + count < (this.#layers[this.#layer]?.neurons ?? 0)) return;
    for (const fired of this.#firing.slice(0, positions)) this.#onFired?.(this.#layer, fired);
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

/** The places of bits that are set. */
function idsOf(words: Uint32Array): Uint32Array {
  const ids: number[] = [];
  words.forEach((value, index) => {
    for (let word = value; word !== 0; word &= word - 1) {
      ids.push(index * 32 + 31 - Math.clz32(word & -word));
    }
  });
  return Uint32Array.from(ids);
}
