/**
 * The tensors of synthetic mixtures of experts. The values of the residual stream have four parts:
 *
 *   0            the same for all tokens: written by the embedding alone
 *   slow         written by attention alone, which reads only
 *   fast         the token's embedding, which no sublayer overwrites
 *   the rest     the embedding, and the output of the experts, which read everything
 *
 * The columns of norms and routers, which are f32, decide which part a sublayer reads; rows that are 0 decide
 * which part it writes. So routing follows from embeddings and positions alone, whatever experts compute.
 */

import { Random } from '../../src/engine/random.ts';
import { normals } from '../checkpoint/random-halfs.ts';
import type { MadeGgufTensor } from '../gguf/writer.ts';
import { blockFormats, type RowKind, RowPool, rowBytes, zeroRows } from './blocks.ts';
import type { MoeGeometry } from './geometries.ts';
import { kernelOf, type LocalityMix, meanDeviation } from './locality.ts';

/** How many values the constant and the slow part have: whole blocks of an embedding row. */
const leadWidth = 256;
const fastWidth = 512;
/** The constant value, in deviations of an embedding's other values, which are 1. */
const constant = 4;
/** What a layer adds to each value of its part, in deviations of an embedding's. */
const [fromAttention, fromExperts] = [0.3, 0.15];
/** The weight of the constant in norms before attention: so large that queries and keys depend on nothing else. */
const constantWeight = 100;
/** Deviation of a router's logits. */
const routerDeviation = 2;
/** Distances over which attention's mean is estimated. */
const typicalContext = 256;
/** The root of E[silu(a)^2 b^2] for normal a and b. */
const gatedDeviation = 0.6;

const f32Type = 0;

/** The model's tensors, in the order in which llama.cpp writes them. */
export function madeTensors(geometry: MoeGeometry, mix: LocalityMix): MadeGgufTensor[] {
  return new TensorMaker(geometry, mix).tensors;
}

/** A matrix, or one for each expert. */
interface Matrix extends Pick<RowKind, 'columns' | 'deviation' | 'lead' | 'first'> {
  readonly rows: number;
  readonly format: keyof typeof blockFormats;
  /** The other rows are 0; default: all rows. */
  readonly written?: readonly [first: number, end: number];
  readonly experts?: number;
}

class TensorMaker {
  readonly tensors: MadeGgufTensor[] = [];
  readonly #geometry: MoeGeometry;
  readonly #mix: LocalityMix;
  readonly #random = new Random(1);
  readonly #pools = new Map<string, RowPool>();
  readonly #normals = normals(1 << 20, 5);
  /** Deviations of the slow part and of the rest, as layers add to them. */
  #slow = 0;
  #rest = 1;

  constructor(geometry: MoeGeometry, mix: LocalityMix) {
    this.#geometry = geometry;
    this.#mix = mix;
    const { hidden, vocab, formats } = geometry;
    const table = { columns: hidden, rows: vocab };
    const lead = { columns: leadWidth, first: constant };
    this.#matrix('token_embd.weight', { ...table, format: formats.embedding, deviation: 1, lead });
    this.#vector('output_norm.weight', this.#norm({ constant: 0, slow: 0.3, fast: 1, rest: 1 }));
    const deviation = 3 / Math.sqrt(hidden);
    this.#matrix('output.weight', { ...table, format: formats.head, deviation });
    for (let layer = 0; layer < geometry.layers; layer++) this.#layer(`blk.${layer}`);
  }

  #layer(at: string): void {
    this.#attention(at);
    const { hidden, ffnNorm } = this.#geometry;
    const ones = this.#norm({ constant: 1, slow: 1, fast: 1, rest: 1 });
    this.#vector(`${at}.${ffnNorm}.weight`, ones);
    this.#router(at);
    this.#experts(at, hidden);
  }

  /** Root of the mean square of the residual stream. */
  get #size(): number {
    const { hidden } = this.#geometry;
    const rest = hidden - leadWidth - fastWidth;
    const slow = (leadWidth - 1) * this.#slow ** 2;
    return Math.sqrt((constant ** 2 + slow + fastWidth + rest * this.#rest ** 2) / hidden);
  }

  #attention(at: string): void {
    const { hidden, heads, kvHeads, headDim, rotary, qkNorm, biases, formats } = this.#geometry;
    const [queries, keys] = [heads * headDim, kvHeads * headDim];
    const { steepness } = this.#mix;
    const norm = this.#norm({ constant: constantWeight, slow: 0, fast: 1, rest: 0 });
    this.#vector(`${at}.attn_norm.weight`, norm);
    // Rows begin with a large weight for the constant, so that all values of a query are equal.
    const { scaling } = rotary;
    const turned = scaling.kind === 'yarn' ? scaling.attentionFactor : 1;
    const value = Math.sqrt(steepness) / turned;
    const { large } = blockFormats[formats.attention];
    const deviation =
      qkNorm === 'none' ? (value * this.#size) / (large * constantWeight * constant) : 0.02;
    const alike = {
      columns: hidden,
      format: formats.attention,
      deviation,
      first: 'large',
    } as const;
    this.#matrix(`${at}.attn_q.weight`, { ...alike, rows: queries });
    this.#matrix(`${at}.attn_k.weight`, { ...alike, rows: keys });
    this.#matrix(`${at}.attn_v.weight`, {
      ...{ columns: hidden, rows: keys, format: formats.value, first: 'zero' },
      deviation: 1 / Math.sqrt(fastWidth),
    });
    if (qkNorm !== 'none') {
      const width = (count: number) => (qkNorm === 'head' ? headDim : count);
      this.#vector(`${at}.attn_q_norm.weight`, new Float32Array(width(queries)).fill(value));
      this.#vector(`${at}.attn_k_norm.weight`, new Float32Array(width(keys)).fill(value));
    }
    const mean = meanDeviation(kernelOf(this.#geometry, steepness, typicalContext));
    const added = fromAttention / this.#size;
    this.#matrix(`${at}.attn_output.weight`, {
      ...{ columns: queries, rows: hidden, format: formats.attention, written: [1, leadWidth] },
      deviation: fromAttention / (mean * Math.sqrt(queries)),
    });
    if (biases) {
      this.#vector(`${at}.attn_sinks.weight`, new Float32Array(heads));
      for (const [name, rows] of [
        ['q', queries],
        ['k', keys],
        ['v', keys],
        ['output', hidden],
      ] as const) {
        this.#vector(`${at}.attn_${name}.bias`, new Float32Array(rows));
      }
    }
    this.#slow = Math.hypot(this.#slow, added);
  }

  /** Logits are sums of the constant, the slow and the fast part, with the wanted deviations. */
  #router(at: string): void {
    const { hidden, experts, biases } = this.#geometry;
    const { slow, fast, popular } = this.#mix;
    const scale = routerDeviation * this.#size;
    const weights = {
      constant: Math.sqrt(popular) / constant,
      slow: Math.sqrt(slow) / (this.#slow * Math.sqrt(leadWidth - 1)),
      fast: Math.sqrt(fast) / Math.sqrt(fastWidth),
      rest: 0,
    };
    const columns = this.#norm(weights);
    const values = new Float32Array(experts * hidden);
    let from = Math.floor(this.#random.next() * this.#normals.length);
    for (let i = 0; i < values.length; i++) {
      from = (from + 1) % this.#normals.length;
      values[i] = scale * (columns[i % hidden] ?? 0) * (this.#normals[from] ?? 0);
    }
    this.#floats(`${at}.ffn_gate_inp.weight`, [hidden, experts], values);
    if (biases) this.#vector(`${at}.ffn_gate_inp.bias`, new Float32Array(experts));
  }

  #experts(at: string, hidden: number): void {
    const { experts, topK, neurons, biases, formats } = this.#geometry;
    const inward = 1 / Math.sqrt(hidden);
    for (const name of ['gate', 'up']) {
      const tensor = `${at}.ffn_${name}_exps`;
      this.#matrix(`${tensor}.weight`, {
        ...{ columns: hidden, rows: neurons, experts, format: formats.experts, deviation: inward },
      });
      if (biases) {
        this.#floats(`${tensor}.bias`, [neurons, experts], new Float32Array(neurons * experts));
      }
    }
    // The weights of the chosen experts sum to 1: with k of similar size, each is 1 / k.
    const down = `${at}.ffn_down_exps`;
    this.#matrix(`${down}.weight`, {
      ...{ columns: neurons, rows: hidden, experts, format: formats.experts },
      written: [leadWidth + fastWidth, hidden],
      deviation: (fromExperts * Math.sqrt(topK)) / (gatedDeviation * Math.sqrt(neurons)),
    });
    if (biases) this.#floats(`${down}.bias`, [hidden, experts], new Float32Array(hidden * experts));
    this.#rest = Math.hypot(this.#rest, fromExperts);
  }

  /** A vector over the residual stream with one value for each part of it. */
  #norm(of: Readonly<Record<'constant' | 'slow' | 'fast' | 'rest', number>>): Float32Array {
    return Float32Array.from({ length: this.#geometry.hidden }, (_, i) => {
      if (i === 0) return of.constant;
      if (i < leadWidth) return of.slow;
      return i < leadWidth + fastWidth ? of.fast : of.rest;
    });
  }

  #vector(name: string, values: Float32Array): void {
    this.#floats(name, [values.length], values);
  }

  #floats(name: string, sizes: readonly number[], values: Float32Array): void {
    const part = new Uint8Array(values.buffer);
    this.tensors.push({ name, sizes, type: f32Type, bytes: part.length, parts: () => [part] });
  }

  /** A matrix of random rows, or one for each expert. */
  #matrix(name: string, matrix: Matrix): void {
    const { rows, columns, written = [0, rows], experts } = matrix;
    const format = blockFormats[matrix.format];
    const bytes = (experts ?? 1) * rows * rowBytes(format, columns);
    const [first, end] = written;
    const pool = this.#pool(matrix);
    const zeros = (count: number) => zeroRows(format, columns, count);
    const parts = function* () {
      for (let expert = 0; expert < (experts ?? 1); expert++) {
        yield* zeros(first);
        yield* pool.rows(end - first);
        yield* zeros(rows - end);
      }
    };
    const sizes = [columns, rows, ...(experts === undefined ? [] : [experts])];
    this.tensors.push({ name, sizes, type: format.type, bytes, parts });
  }

  /** Rows of a kind that several layers share are made once. */
  #pool({ columns, format, deviation, lead, first }: Matrix): RowPool {
    const key = JSON.stringify([columns, format, deviation, lead, first]);
    const known = this.#pools.get(key);
    if (known !== undefined) return known;
    const kind = { format: blockFormats[format], columns, deviation };
    const pool = new RowPool(
      { ...kind, ...(lead && { lead }), ...(first && { first }) },
      this.#random,
    );
    this.#pools.set(key, pool);
    return pool;
  }
}
