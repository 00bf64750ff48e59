/**
 * Widens a small trained OPT to a large geometry that computes the same function: real text and
 * real activation patterns at sizes whose real weights are not at hand.
 *
 * The state of the large model is the small one's, repeated k times. In a row of a linear map, two copies
 * of each input coordinate carry the weight, half each; the others carry noise that is +e in one copy and
 * -e in another, so that it cancels on states whose k copies are equal:
 *
 *     large row   | +e -e | w/2 | -e | w/2 | +e | ...     at random places, for each coordinate
 *
 * - Heads: head j is head j mod h, its coordinates repeated to the larger size.
 * - FFN: each neuron has ffn / f copies, each perturbed, shuffled, its column divided by their number.
 *   A ReLU allows a factor to move from the columns into the rows; it keeps columns in f16's range.
 * - Depth: all layers but the first and the last are repeated, evenly, the later ones with their output
 *   scaled by a small epsilon. (Repeats of those two would be the least sparse layers: 81 and 87%.)
 * - Vocabulary: rows beyond the small one's lie along a direction in which the final norm's bias is
 *   the only component, so that their logits stay far below those of real tokens.
 * - Positions: beyond the small model's they repeat its later half: they run, but their text means nothing.
 */

import { Random } from '../../src/engine/random.ts';
import { Copies, shuffled } from './copies.ts';
import { fromF16, toF16 } from './halfs.ts';
import { type OptGeometry, type OptTensor, optTensors, positionOffset } from './opt.ts';
import { normals, randomHalfs } from './random-halfs.ts';
import type { SmallModel } from './small-model.ts';
import type { MadeTensor } from './writer.ts';

export interface WidenOptions {
  /** Of each neuron copy's row and bias, relative to their root mean square. */
  readonly perturbation: number;
  /** The scale of repeated layers' outputs. */
  readonly epsilon: number;
  /** Deviation of the noise that cancels. */
  readonly noise: number;
  readonly seed: number;
}

export const widenDefaults: WidenOptions = {
  perturbation: 0.3,
  epsilon: 0.02,
  noise: 0.02,
  seed: 1,
};

/** The columns' wanted root mean square: f16 is slow to unpack and coarse below 6e-5. */
const columnScale = 0.015;
/** Logits of tokens that the small model does not have. */
const neverLogit = -40;
/** The share of a real token's row in such rows. */
const paddingShare = 0.1;
/** The tensors of the small model at the large geometry. */
export function widen(
  small: SmallModel,
  large: OptGeometry,
  options: WidenOptions = widenDefaults,
): readonly MadeTensor[] {
  const widener = new Widener(small, large, options);
  return optTensors(large).map((tensor) => ({
    ...tensor,
    parts: () => widener.parts(tensor),
  }));
}

class Widener {
  readonly #small: SmallModel;
  readonly #large: OptGeometry;
  readonly #options: WidenOptions;
  /** Of the state. */
  readonly #state: Copies;
  /** Of the heads' values. */
  readonly #values: Copies;
  readonly #noise: (bytes: number) => Generator<Uint8Array>;
  readonly #normals: Float32Array;

  constructor(small: SmallModel, large: OptGeometry, options: WidenOptions) {
    this.#small = small;
    this.#large = large;
    this.#options = options;
    const random = new Random(options.seed);
    const { hidden, heads } = small.geometry;
    if (large.ffn % small.geometry.ffn !== 0) throw new Error('the FFN must be a multiple');
    const size = hidden / heads;
    const largeSize = large.hidden / large.heads;
    const state = Uint32Array.from({ length: large.hidden }, (_, i) => i % hidden);
    const values = Uint32Array.from({ length: large.hidden }, (_, i) => {
      const head = Math.floor(i / largeSize) % heads;
      return head * size + ((i % largeSize) % size);
    });
    this.#state = new Copies(state, hidden, random);
    this.#values = new Copies(values, hidden, random);
    this.#noise = randomHalfs(options.noise);
    this.#normals = normals(2 ** 20, options.seed);
  }

  *parts(tensor: OptTensor): Generator<Uint8Array> {
    for (const row of this.#rows(tensor))
      yield new Uint8Array(row.buffer, row.byteOffset, row.byteLength);
  }

  #rows(tensor: OptTensor): Iterable<Uint16Array> {
    const { layer, part } = tensor;
    const smallLayer = this.#smallLayer(layer);
    const scale =
      layer >= 0 && smallLayer === this.#smallLayer(layer - 1) ? this.#options.epsilon : 1;
    const source = (name: string) =>
      this.#source(layer < 0 ? name : `layers.${smallLayer}.${name}`);
    const values = source(part);
    switch (part) {
      case 'embed_tokens.weight':
        return this.#tokens(values);
      case 'embed_positions.weight':
        return this.#positions(values);
      case 'self_attn.q_proj.weight':
      case 'self_attn.k_proj.weight':
      case 'self_attn.v_proj.weight':
        return this.#headRows(values, part);
      case 'self_attn.q_proj.bias':
      case 'self_attn.k_proj.bias':
      case 'self_attn.v_proj.bias':
        return [this.#headBias(values, part)];
      case 'self_attn.out_proj.weight':
        return this.#outRows(values, scale);
      case 'fc1.weight':
        return this.#upRows(layer, values, 1 / this.#ffnFactor(source('fc2.weight'), scale));
      case 'fc1.bias':
        return [this.#upBias(layer, values, 1 / this.#ffnFactor(source('fc2.weight'), scale))];
      case 'fc2.weight':
        return this.#downRows(layer, values, scale);
      case 'self_attn.out_proj.bias':
      case 'fc2.bias':
        return [this.#tiled(values, scale)];
      default: // norms
        return [layer < 0 ? this.#finalNorm(values, part) : this.#tiled(values, 1)];
    }
  }

  /** The layer that a large one is a copy of; -1 before the first. */
  #smallLayer(layer: number): number {
    const last = this.#small.geometry.layers - 1;
    if (layer <= 0) return layer < 0 ? -1 : 0;
    if (layer === this.#large.layers - 1) return last;
    return 1 + Math.floor(((layer - 1) * (last - 1)) / (this.#large.layers - 2));
  }

  #source(name: string): Float32Array {
    const found = this.#small.tensors.get(name);
    if (found === undefined) throw new Error(`the small model has no ${name}`);
    return found;
  }

  get #times(): number {
    return this.#large.hidden / this.#small.geometry.hidden;
  }

  #tiled(values: Float32Array, scale: number): Uint16Array {
    return this.#tile([values.map((value) => value * scale)]);
  }

  /** These vectors (small) in turn, until the row is full. */
  #tile(vectors: readonly Float32Array[]): Uint16Array {
    const { hidden } = this.#small.geometry;
    const row = new Uint16Array(this.#large.hidden);
    for (const [turn, vector] of vectors.entries()) {
      const halfs = new Uint16Array(hidden);
      for (let i = 0; i < hidden; i++) halfs[i] = toF16(vector[i] ?? 0);
      for (let at = turn * hidden; at < row.length; at += vectors.length * hidden) {
        row.set(halfs, at);
      }
    }
    return row;
  }

  /** +1 and -1 in turn from copy to copy: orthogonal to every tiled vector. */
  #side(index: number): number {
    return Math.floor(index / this.#small.geometry.hidden) % 2 === 0 ? 1 : -1;
  }

  *#tokens(values: Float32Array): Generator<Uint16Array> {
    const { hidden, vocab } = this.#small.geometry;
    const length = rms(values);
    for (let id = 0; id < this.#large.vocab; id++) {
      const at = (id % vocab) * hidden;
      const row = values.subarray(at, at + hidden);
      if (id < vocab) {
        yield this.#tiled(row, 1);
      } else {
        const sides = [length, -length].map((side) =>
          row.map((value) => paddingShare * value + side),
        );
        yield this.#tile(sides);
      }
    }
  }

  /** The logits grow with the width, so the final norm shrinks; see the vocabulary above. */
  #finalNorm(values: Float32Array, part: string): Uint16Array {
    const tiled = this.#tiled(values, 1 / this.#times);
    if (part.endsWith('.weight')) return tiled;
    const { hidden } = this.#large;
    const side = neverLogit / (hidden * rms(this.#source('embed_tokens.weight')));
    return tiled.map((half, i) => toF16(fromF16(half) + side * this.#side(i)));
  }

  *#positions(values: Float32Array): Generator<Uint16Array> {
    const { hidden, positions } = this.#small.geometry;
    const half = Math.floor(positions / 2);
    for (let row = 0; row < this.#large.positions + positionOffset; row++) {
      const position = row - positionOffset;
      const known =
        position < positions ? row : positionOffset + half + (position % (positions - half));
      yield this.#tiled(values.subarray(known * hidden, (known + 1) * hidden), 1);
    }
  }

  #noiseFor(values: number): Uint16Array {
    const [part] = this.#noise(2 * values);
    if (part === undefined || part.length < 2 * values) return this.#noiseFor(values);
    return new Uint16Array(part.buffer, part.byteOffset, values);
  }

  /** Queries make up for repeated coordinates and for the scale of larger heads. */
  #headScale(row: number, part: string): number {
    if (!part.includes('q_proj')) return 1;
    const { hidden, heads } = this.#small.geometry;
    const ratio = this.#large.hidden / this.#large.heads / (hidden / heads);
    const repeats = (this.#values.counts[row] ?? 1) / (this.#large.heads / heads);
    return Math.sqrt(ratio) / repeats;
  }

  *#headRows(values: Float32Array, part: string): Generator<Uint16Array> {
    const { hidden } = this.#small.geometry;
    for (const [index, row] of this.#values.from.entries()) {
      const scale = this.#headScale(row, part);
      const weight = (i: number) => scale * (values[row * hidden + i] ?? 0);
      yield this.#state.row(weight, this.#noiseFor(hidden), index);
    }
  }

  #headBias(values: Float32Array, part: string): Uint16Array {
    return Uint16Array.from(this.#values.from, (row) =>
      toF16(this.#headScale(row, part) * (values[row] ?? 0)),
    );
  }

  /**
   * Copies of an output have the same row, noise included. So the state's copies stay equal to the bit,
   * and noise does not amplify differences in their last bits from layer to layer.
   */
  *#outRows(values: Float32Array, scale: number): Generator<Uint16Array> {
    const { hidden } = this.#small.geometry;
    const rows = Array.from({ length: hidden }, (_, row) => {
      const weight = (i: number) => scale * (values[row * hidden + i] ?? 0);
      return this.#values.row(weight, this.#noiseFor(hidden), row).slice();
    });
    yield* this.#repeated(rows);
  }

  /** The rows of outputs that are copies of each other. */
  *#repeated(rows: readonly Uint16Array[]): Generator<Uint16Array> {
    for (let i = 0; i < this.#large.hidden; i++) {
      yield rows[i % rows.length] ?? new Uint16Array();
    }
  }

  /** The factor by which columns are multiplied and rows divided. */
  #ffnFactor(down: Float32Array, scale: number): number {
    const copies = this.#large.ffn / this.#small.geometry.ffn;
    return (columnScale * copies) / (rms(down) * scale);
  }

  /** Which small neuron each of a layer's is a copy of. */
  #neurons(layer: number): Uint32Array {
    const { ffn } = this.#small.geometry;
    const ids = Array.from({ length: this.#large.ffn }, (_, i) => i % ffn);
    return Uint32Array.from(shuffled(ids, new Random(this.#options.seed + 1000 + layer)));
  }

  *#upRows(layer: number, values: Float32Array, scale: number): Generator<Uint16Array> {
    const { hidden } = this.#small.geometry;
    const deviation = this.#options.perturbation * rms(values);
    const pool = this.#normals;
    const random = new Random(this.#options.seed + 2000 + layer);
    for (const [index, neuron] of this.#neurons(layer).entries()) {
      const start = Math.floor(random.next() * (pool.length - hidden));
      const weight = (i: number) =>
        scale * ((values[neuron * hidden + i] ?? 0) + deviation * (pool[start + i] ?? 0));
      yield this.#state.row(weight, this.#noiseFor(hidden), index);
    }
  }

  #upBias(layer: number, values: Float32Array, scale: number): Uint16Array {
    const deviation = this.#options.perturbation * rms(values);
    return Uint16Array.from(this.#neurons(layer), (neuron, i) =>
      toF16(scale * ((values[neuron] ?? 0) + deviation * (this.#normals[i] ?? 0))),
    );
  }

  /** The state's copies are equal, so that few rows differ: each is made once. */
  *#downRows(layer: number, values: Float32Array, scale: number): Generator<Uint16Array> {
    const { hidden, ffn } = this.#small.geometry;
    const copies = this.#large.ffn / ffn;
    const factor = (this.#ffnFactor(values, scale) * scale) / copies;
    const neurons = this.#neurons(layer);
    const halfs = Uint16Array.from(values, (value) => toF16(value * factor));
    const rows = Array.from({ length: hidden }, (_, row) => {
      const source = halfs.subarray(row * ffn, (row + 1) * ffn);
      return Uint16Array.from(neurons, (neuron) => source[neuron] ?? 0);
    });
    yield* this.#repeated(rows);
  }
}

function rms(values: Float32Array): number {
  return Math.sqrt(values.reduce((sum, value) => sum + value * value, 0) / values.length);
}
