/**
 * Queries, keys and values computed from latent vectors (multi-head latent attention), in the same layout as
 * those of other models: the KV cache holds the keys and values of each head.
 *
 *     x ─ latent ─┬─ position (rope) ─────────────────────────┬─ keys
 *                 └─ norm ─ keyValue ─┬─ the rest of each key ─┘
 *                                     └─ values, zeros up to a head's width
 *     x ─ [latent query ─ norm] ─ queries
 */

import { type LatentSpec, type ModelSpec, tensorNames } from '../models/spec.ts';
import { attendedWidth } from '../models/spec-tensors.ts';
import type { LatentBuffers } from '../plan/activations.ts';
import type { LayerMath, LayerMathParts } from './layer-math.ts';

const f32Bytes = 4;

/** Addresses of (positions, (heads + 2 heads) headDim) and (positions, heads headDim). */
interface HeadPlaces {
  readonly qkv: number;
  readonly attended: number;
}

export class LatentAttention {
  readonly #parts: LayerMathParts;
  readonly #math: LayerMath;
  readonly #attention: ModelSpec['attention'];
  readonly #latent: LatentSpec;
  readonly #buffers: LatentBuffers;
  readonly #places: HeadPlaces;

  constructor(
    parts: LayerMathParts,
    math: LayerMath,
    latent: LatentSpec,
    buffers: LatentBuffers,
    places: HeadPlaces,
  ) {
    this.#parts = parts;
    this.#math = math;
    this.#attention = parts.files.manifest.spec.attention;
    this.#latent = latent;
    this.#buffers = buffers;
    this.#places = places;
  }

  /** Computes queries, keys and values of x, before rotation by positions. */
  async project(layer: number, x: number, positions: number): Promise<void> {
    const { heads, headDim } = this.#attention;
    const { queryRank, rank, rope } = this.#latent;
    const { query, latent, normed, keyValue } = this.#buffers;
    const stride = 3 * heads * headDim;
    let input = x;
    if (queryRank !== null) {
      await this.#math.project(tensorNames.latentQuery(layer), query, x, positions);
      this.#norm(tensorNames.latentQueryNorm(layer), query, query, positions, queryRank, queryRank);
      input = query;
    }
    await this.#math.project(tensorNames.query(layer), this.#places.qkv, input, positions, stride);
    await this.#math.project(tensorNames.latent(layer), latent, x, positions);
    const of = latent + rope * f32Bytes;
    this.#norm(tensorNames.latentNorm(layer), normed, of, positions, rank, rope + rank);
    await this.#math.project(tensorNames.keyValue(layer), keyValue, normed, positions);
    for (let position = 0; position < positions; position++) this.#layKeysAndValues(position);
  }

  /**
   * The output of attention without the padding zeros.
   * @returns address of (positions, heads value)
   */
  attended(positions: number): number {
    const { heads, headDim } = this.#attention;
    const { value } = this.#latent;
    if (value === headDim) return this.#places.attended;
    const width = attendedWidth(this.#attention);
    for (let position = 0; position < positions; position++) {
      const to = this.#buffers.keyValue + position * width * f32Bytes;
      const from = this.#places.attended + position * heads * headDim * f32Bytes;
      this.#copyHeads(to, value, from, headDim, value);
    }
    return this.#buffers.keyValue;
  }

  #layKeysAndValues(position: number): void {
    const { heads, headDim } = this.#attention;
    const { rank, rope, value } = this.#latent;
    const { latent, keyValue } = this.#buffers;
    const own = headDim - rope;
    const made = keyValue + position * heads * (own + value) * f32Bytes;
    const width = heads * headDim * f32Bytes;
    const keys = this.#places.qkv + (3 * position + 1) * width;
    // All heads share the part that carries the position.
    this.#copyHeads(keys, headDim, latent + position * (rope + rank) * f32Bytes, 0, rope);
    this.#copyHeads(keys + rope * f32Bytes, headDim, made, own + value, own);
    // Nothing is ever written after a head's values, so the padding stays zero.
    this.#copyHeads(keys + width, headDim, made + own * f32Bytes, own + value, value);
  }

  /** Copies `count` values for each head; distances between heads in values. */
  #copyHeads(to: number, toStride: number, from: number, fromStride: number, count: number): void {
    const [{ kernels }] = this.#parts.arenas;
    const [rowBytes, source, target] = [count, fromStride, toStride].map((n) => n * f32Bytes);
    kernels.copyRows(to, from, this.#attention.heads, rowBytes ?? 0, source ?? 0, target ?? 0);
  }

  /** y = x over the root of its mean square, n values of rows that are `stride` values apart in x. */
  #norm(name: string, y: number, x: number, rows: number, n: number, stride: number): void {
    const { arenas, weights } = this.#parts;
    const weight = weights.vector(`${name}.weight`);
    arenas[0].kernels.rmsNorm(y, x, weight, n, rows, stride, n, this.#latent.eps);
  }
}
