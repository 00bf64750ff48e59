/**
 * The typed face of the compute core (assembly/index.ts). Kernels work on addresses: byte offsets
 * in the memory they were instantiated over. Strides between positions are in f32 elements unless
 * they are called bytes; vectors that are not said to be weights are f32.
 */
import type { DType } from '../dtype.ts';
import type { DTypeKernels, PackedKernels } from './weight-kernels.ts';

/** A byte offset in the WebAssembly memory. 0 stands for "none" where a bias may be left out. */
export type Address = number;

/** Activation functions and their codes, mirrored in assembly/math.ts. */
export const activationCodes = {
  none: 0,
  relu: 1,
  /** x/2 (1 + erf(x / sqrt 2)) */
  gelu: 2,
  /** x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) */
  gelu_tanh: 3,
  /** x / (1 + e^-x) */
  silu: 4,
  /** max(x, 0)^2 */
  relu2: 5,
  /** x above a threshold, else 0 */
  fatrelu: 6,
} as const;

export type Activation = keyof typeof activationCodes;
export type ActivationCode = (typeof activationCodes)[Activation];

export type Transpose = (
  dst: Address,
  src: Address,
  rows: number,
  cols: number,
  srcStrideBytes: number,
  dstStrideBytes: number,
) => void;

export type Attention = (
  out: Address,
  q: Address,
  rows: Address,
  keys: Address,
  values: Address,
  scores: Address,
  headStart: number,
  headEnd: number,
  group: number,
  headDim: number,
  kvStride: number,
  qStride: number,
  outStride: number,
  length: number,
  positions: number,
  scale: number,
  window: number,
  bias: Address,
  biasStride: number,
) => void;

export type Rotary = (
  x: Address,
  cos: Address,
  sin: Address,
  heads: number,
  headDim: number,
  pairs: number,
  positions: number,
  xStride: number,
) => void;

export interface Kernels {
  readonly byDType: Readonly<Record<DType, DTypeKernels>>;
  readonly packedF16: PackedKernels;
  /** y[p] = (x[p] - mean) / sqrt(variance + eps) weight + bias over n elements; y may be x. */
  readonly layerNorm: (
    y: Address,
    x: Address,
    weight: Address,
    bias: Address,
    n: number,
    positions: number,
    xStride: number,
    yStride: number,
    eps: number,
  ) => void;
  /** y[p] = x[p] / sqrt(mean of squares + eps) weight over n elements; y may be x. */
  readonly rmsNorm: (
    y: Address,
    x: Address,
    weight: Address,
    n: number,
    positions: number,
    xStride: number,
    yStride: number,
    eps: number,
  ) => void;
  /**
   * Causal attention of heads [headStart, headEnd) for `positions` rows of one or of several sequences,
   * whose keys and values are already in the cache. `rows` (u32, 2 per row) has the address of the
   * sequence's page numbers (u32, one per 16 positions) and the row's position; page g begins at row
   * 16 g of `keys` and `values`, query head h reads kv head h / group. A row sees the last `window`
   * positions of its sequence up to its own; to the score of position j, before the scale, is added
   * bias[h, j], if there is a bias. `length` is more than any row's position; `scores` is scratch of
   * `attentionScratch` f32.
   */
  readonly attention: Attention;
  /** The same with finite f16 keys and values; kvStride is in f16 elements. */
  readonly attentionF16: Attention;
  /**
   * Turns pairs (i, i + pairs) of each head's first values by angles given as cosine and sine,
   * (positions, pairs) each.
   */
  readonly rotaryHalves: Rotary;
  /** The same with pairs (2i, 2i + 1). */
  readonly rotaryNeighbours: Rotary;
  /** y[0..n) += x[0..n) */
  readonly add: (y: Address, x: Address, n: number) => void;
  /** y[0..n) += each of `rows` rows of n values, `stride` elements apart, one after the other. */
  readonly fold: (y: Address, x: Address, rows: number, n: number, stride: number) => void;
  /** How many of x[0..n) are not 0. */
  readonly countActive: (x: Address, n: number) => number;
  /**
   * Bits [first, first + n) of each position's row of `bits` become scores[p, i] > 0, and those up to
   * the next multiple of 32 become 0; `first` is a multiple of 32. bitStride is in words of 32 bits.
   */
  readonly positiveBits: (
    bits: Address,
    scores: Address,
    first: number,
    n: number,
    positions: number,
    scoreStride: number,
    bitStride: number,
  ) => void;
  /** Writes the places of bits that any position has set, of `words` words, to `ids` (u32), ascending; how many. */
  readonly unionIds: (
    ids: Address,
    bits: Address,
    words: number,
    positions: number,
    bitStride: number,
  ) => number;
  /** dst[p, i] = src[p, order[i]] where bit ids[i] of position p is set, else 0; order, ids are u32. */
  readonly wantedActs: (
    dst: Address,
    src: Address,
    order: Address,
    ids: Address,
    bits: Address,
    count: number,
    positions: number,
    dstStride: number,
    srcStride: number,
    bitStride: number,
  ) => void;
  /** y[0..n) *= x[0..n) */
  readonly multiply: (y: Address, x: Address, n: number) => void;
  /** x[0..n) within [-limit, limit]; NaN stays NaN */
  readonly clamp: (x: Address, n: number, limit: number) => void;
  /** x[0..n) *= factor */
  readonly scale: (x: Address, n: number, factor: number) => void;
  /** x[0..n) = activation(x[0..n)) */
  readonly activation: (
    x: Address,
    n: number,
    activation: ActivationCode,
    threshold?: number,
  ) => void;
  /**
   * Transposes elements of 16 bits: element c of source row r becomes element r of destination row
   * c. (rows, cols) is the shape of the source.
   */
  readonly transpose16: Transpose;
  /** The same for elements of 32 bits. */
  readonly transpose32: Transpose;
  /** Copies rows of rowBytes each between strided places. */
  readonly copyRows: (
    dst: Address,
    src: Address,
    rows: number,
    rowBytes: number,
    srcStrideBytes: number,
    dstStrideBytes: number,
  ) => void;
  /**
   * C[i, j] = sum over d of A[i, d] B[d, j] for i < m, j < n, d < k, or += with `accumulate` 1. A has
   * any strides between rows and columns, so that it may lie transposed. Strides in elements.
   */
  readonly gemm: (
    c: Address,
    a: Address,
    b: Address,
    m: number,
    n: number,
    k: number,
    aRowStride: number,
    aColStride: number,
    bStride: number,
    cStride: number,
    accumulate: 0 | 1,
  ) => void;
  /**
   * Scores (positions, n) become the gradient of the logistic loss by them: weight (sigmoid(score) -
   * fired), where a neuron that fired weighs min(most, floor + importance[i] act[p, i]), another
   * `idle`.
   */
  readonly logisticGradient: (
    scores: Address,
    acts: Address,
    importance: Address,
    n: number,
    positions: number,
    scoreStride: number,
    actStride: number,
    floor: number,
    most: number,
    idle: number,
  ) => void;
  /**
   * A step of AdamW over n parameters w with gradients g and moments m and v:
   * w -= rate (m correction1 / (sqrt(v correction2) + 1e-8) + decay w).
   */
  readonly adamw: (
    w: Address,
    g: Address,
    m: Address,
    v: Address,
    n: number,
    rate: number,
    beta1: number,
    beta2: number,
    decay: number,
    correction1: number,
    correction2: number,
  ) => void;
  /** Sum of `bytes` (a multiple of 256) as 32-bit numbers: for measuring how fast memory is read. */
  readonly readSum: (src: Address, bytes: number) => number;
}

/** Query heads that read keys and values together, mirrored in assembly/attention.ts. */
export const headsTogether = 4;

/** Elements of scratch that `attention` needs. */
export function attentionScratch(length: number): number {
  return headsTogether * length;
}
