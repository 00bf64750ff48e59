/**
 * The kernels that do not depend on how weights are stored, one row each: the name is that of the export and
 * of the function in assembly, unless `implementation` names another. All descriptions of a kernel's
 * parameters are derived from here: the exports (scripts/generate-exports.ts), their types (kernels.ts), and
 * the names that splits use (threads/kernel-splits.ts).
 *
 * Strides between positions are in f32 elements unless their names say bytes; vectors are f32 unless
 * described as weights.
 */

import type { Signature } from './signature.ts';

/** A row of a table. */
interface KernelRow extends Signature {
  /** Its implementation, if that is not a function of the same name. */
  readonly implementation?: string;
}

const attention = [
  'out: address',
  'q: address',
  'rows: address',
  'keys: address',
  'values: address',
  'scores: address',
  'headStart: i32',
  'headEnd: i32',
  'group: i32',
  'headDim: i32',
  'kvStride: size',
  'qStride: size',
  'outStride: size',
  'length: i32',
  'positions: i32',
  'scale: f32',
  'window: i32',
  'bias: address',
  'biasStride: size',
  'biasScale: f32',
  'softCap: f32',
  'sinks: address',
] as const;

const rotary = [
  'x: address',
  'cos: address',
  'sin: address',
  'heads: i32',
  'headDim: i32',
  'pairs: i32',
  'positions: i32',
  'xStride: size',
] as const;

const transpose = [
  'dst: address',
  'src: address',
  'rows: i32',
  'cols: i32',
  'srcStrideBytes: size',
  'dstStrideBytes: size',
] as const;

export const kernelTable = {
  /** y[p] = (x[p] - mean) / sqrt(variance + eps) weight + bias over n elements; y may be x. */
  layerNorm: {
    parameters: [
      'y: address',
      'x: address',
      'weight: address',
      'bias: address',
      'n: i32',
      'positions: i32',
      'xStride: size',
      'yStride: size',
      'eps: f32',
    ],
  },
  /** y[p] = x[p] / sqrt(mean of squares + eps) weight over n elements; y may be x. */
  rmsNorm: {
    parameters: [
      'y: address',
      'x: address',
      'weight: address',
      'n: i32',
      'positions: i32',
      'xStride: size',
      'yStride: size',
      'eps: f32',
    ],
  },
  /**
   * x[p] = round(x[p] s) / s over n elements, to nearest, ties to even, where s is 127 over the largest
   * magnitude of x[p], at least 1e-5: rounds a row to 8 bits.
   */
  roundRows: { parameters: ['x: address', 'n: i32', 'positions: i32', 'xStride: size'] },
  /**
   * Causal attention of heads [headStart, headEnd) for `positions` rows of one or of several sequences,
   * whose keys and values are already in the cache. `rows` (u32, 2 per row) has the address of the
   * sequence's page numbers (u32, one per `pagePositions`) and the row's position; page g begins at row
   * `pagePositions` g of `keys` and `values`, query head h reads kv head h / group. A row sees the last
   * `window` positions of its sequence up to its own. Scores are scale q . k; with `softCap` c above 0, c
   * tanh(score / c); then biasScale bias[h, j] is added to that of position j, if there is a bias. A head's
   * value in `sinks`, if there are any, is the score of one more position, whose value is 0. `length` is more than any row's position; `scores` is scratch
   * of `attentionScratch` f32.
   */
  attention: { parameters: attention, implementation: 'attention<Unpacked>' },
  /** The same with finite f16 keys and values; kvStride is in f16 elements. */
  attentionF16: { parameters: attention, implementation: 'attention<F16>' },
  /**
   * Rotates pairs (i, i + pairs) of each head's first values by angles given as cosine and sine, (positions,
   * pairs) each.
   */
  rotaryHalves: { parameters: rotary },
  /** The same with pairs (2i, 2i + 1). */
  rotaryInterleaved: { parameters: rotary },
  /** y[0..n) += x[0..n) */
  add: { parameters: ['y: address', 'x: address', 'n: i32'] },
  /** y[0..n) += each of `rows` rows of n values, `stride` elements apart, one after the other. */
  fold: { parameters: ['y: address', 'x: address', 'rows: i32', 'n: i32', 'stride: size'] },
  /** How many of x[0..n) are not 0. */
  countActive: { parameters: ['x: address', 'n: i32'], result: 'i32' },
  /**
   * Bits [first, first + n) of each position's row of `bits` become scores[p, i] > 0, and those up to
   * the next multiple of 32 become 0; `first` is a multiple of 32. bitStride is in words of 32 bits.
   */
  positiveBits: {
    parameters: [
      'bits: address',
      'scores: address',
      'first: i32',
      'n: i32',
      'positions: i32',
      'scoreStride: size',
      'bitStride: size',
    ],
  },
  /**
   * Writes to `ids` (u32), ascending, the indices of bits that any position has set in `words` words; returns
   * their number.
   */
  unionIds: {
    parameters: [
      'ids: address',
      'bits: address',
      'words: i32',
      'positions: i32',
      'bitStride: size',
    ],
    result: 'i32',
  },
  /** dst[p, i] = src[p, order[i]] where bit ids[i] of position p is set, else 0; order, ids are u32. */
  wantedActs: {
    parameters: [
      'dst: address',
      'src: address',
      'order: address',
      'ids: address',
      'bits: address',
      'count: i32',
      'positions: i32',
      'dstStride: size',
      'srcStride: size',
      'bitStride: size',
    ],
  },
  /** y[0..n) *= x[0..n) */
  multiply: { parameters: ['y: address', 'x: address', 'n: i32'] },
  /** y[0..n) = (y + 1) g sigmoid(steepness g), y within [-limit, limit], g = min(x, limit) */
  clampedGate: {
    parameters: ['y: address', 'x: address', 'n: i32', 'limit: f32', 'steepness: f32'],
  },
  /** x[0..n) within [-limit, limit]; NaN stays NaN */
  clamp: { parameters: ['x: address', 'n: i32', 'limit: f32'] },
  /** x[0..n) *= factor */
  scale: { parameters: ['x: address', 'n: i32', 'factor: f32'] },
  /** x[0..n) = cap tanh(x[0..n) / cap); NaN and -Infinity stay */
  softCap: { parameters: ['x: address', 'n: i32', 'cap: f32'] },
  /** x[0..n) = the function of this code of x[0..n); the threshold is that of fatrelu. */
  activation: { parameters: ['x: address', 'n: i32', 'code: activation', 'threshold?: f32'] },
  /**
   * Transposes elements of 16 bits: element c of source row r becomes element r of destination row
   * c. (rows, cols) is the shape of the source.
   */
  transpose16: { parameters: transpose },
  /** The same for elements of 32 bits. */
  transpose32: { parameters: transpose },
  /** Copies rows of rowBytes each between strided places. */
  copyRows: {
    parameters: [
      'dst: address',
      'src: address',
      'rows: i32',
      'rowBytes: size',
      'srcStrideBytes: size',
      'dstStrideBytes: size',
    ],
  },
  /** dst[i] = src[rows[i]] for i < count, of n elements each; rows are u32. */
  gatherRows: {
    parameters: ['dst: address', 'src: address', 'rows: address', 'count: i32', 'n: i32'],
  },
  /**
   * y[p] += (contributions[row] + bias[expert]) weight of n elements for each of position p's `each` choices
   * in their order; `bias` may be 0. A choice is u32 row, u32 expert, f32 weight; a row of 0xffffffff ends
   * the list.
   */
  addChoices: {
    parameters: [
      'y: address',
      'contributions: address',
      'bias: address',
      'choices: address',
      'positions: i32',
      'each: i32',
      'n: i32',
    ],
  },
  /**
   * C[i, j] = sum over d of A[i, d] B[d, j] for i < m, j < n, d < k, or += with `accumulate` 1. A has any
   * strides between rows and columns, so that it may be transposed. Strides in elements.
   */
  gemm: {
    parameters: [
      'c: address',
      'a: address',
      'b: address',
      'm: i32',
      'n: i32',
      'k: i32',
      'aRowStride: size',
      'aColStride: size',
      'bStride: size',
      'cStride: size',
      'accumulate: flag',
    ],
  },
  /**
   * Replaces scores (positions, n) by the gradient of the logistic loss with respect to them: weight
   * (sigmoid(score) - fired), where the weight is min(most, floor + importance[i] act[p, i]) for a neuron
   * that fired, and `idle` for another one.
   */
  logisticGradient: {
    parameters: [
      'scores: address',
      'acts: address',
      'importance: address',
      'n: i32',
      'positions: i32',
      'scoreStride: size',
      'actStride: size',
      'floor: f32',
      'most: f32',
      'idle: f32',
    ],
  },
  /**
   * A step of AdamW over n parameters w with gradients g and moments m and v:
   * w -= rate (m correction1 / (sqrt(v correction2) + 1e-8) + decay w).
   */
  adamw: {
    parameters: [
      'w: address',
      'g: address',
      'm: address',
      'v: address',
      'n: i32',
      'rate: f32',
      'beta1: f32',
      'beta2: f32',
      'decay: f32',
      'correction1: f32',
      'correction2: f32',
    ],
  },
  /** Sum of `bytes` (a multiple of 256) as 32-bit numbers: for measuring how fast memory is read. */
  readSum: { parameters: ['src: address', 'bytes: size'], result: 'i32' },
} as const satisfies Readonly<Record<string, KernelRow>>;
