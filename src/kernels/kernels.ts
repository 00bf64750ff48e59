/**
 * The typed face of the compute core (assembly/index.ts). Kernels work on addresses: byte offsets
 * in the memory they were instantiated over. Strides between positions are in f32 elements unless
 * they are called bytes; vectors that are not said to be weights are f32.
 */
import type { DType } from '../dtype.ts';

/** A byte offset in the WebAssembly memory. 0 stands for "none" where a bias may be left out. */
export type Address = number;

/** Formats of weights in memory, as the exports name them. */
export type WeightFormat = DType | 'packed_f16';

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

/** Neurons whose contributions are summed up before they are added, mirrored in assembly/ffn-down.ts. */
export const neuronGroup = 64;

/**
 * Bytes of `scratch` for matmul, ffnUp and ffnDown with up to `cols` columns: there, weights that
 * are used for several positions are unpacked to f32 once, and activations are quantised for q8 and
 * q4. Without it (undefined or 0) f32, f16 and bf16 give the same results to the bit, only slower:
 * f16 takes up to twice as long. matmul and ffnUp of q8 and q4 cannot do without.
 */
export function scratchBytes(cols: number): number {
  // 16 addresses and 16 columns in blocks of 32 f32 and a scale, of which one may be cut at either
  // end; or 32 positions in blocks of 32 i16 and a scale.
  const blocks = Math.ceil(cols / 32);
  return 16 * 4 + Math.max(16 * (blocks + 1) * (32 * 4 + 4), 32 * blocks * (32 * 2 + 4));
}

/**
 * What computes with weights in memory, once per format. Weights are finite; those that are denormal as f32 (below
 * 1.2e-38) count as 0 in matmul, ffnUp and ffnDown. `scratch` is of `scratchBytes(cols)`. A row of
 * n weights is of `byteLength(dtype, n)`.
 */
export interface WeightKernels {
  /**
   * y[p, r] = w[r] . x[p] + bias[r] for r < rows, p < positions; w is (rows, cols), one row right
   * after the other. y[p, r] is the same to the bit however rows and positions are split over calls.
   */
  readonly matmul: (
    y: Address,
    x: Address,
    w: Address,
    bias: Address,
    rows: number,
    cols: number,
    positions: number,
    xStride: number,
    yStride: number,
    scratch?: Address,
  ) => void;
  /**
   * acts[p, i] = activation(up_i . x[p] + bias[i]), where up_i is the row of `cols` weights at
   * ptrs[i] (u32). The same to the bit however list and positions are split. The threshold is that of
   * fatrelu, and not looked at by others.
   */
  readonly ffnUp: (
    acts: Address,
    x: Address,
    ptrs: Address,
    bias: Address,
    count: number,
    cols: number,
    positions: number,
    xStride: number,
    actStride: number,
    activation: ActivationCode,
    scratch?: Address,
    threshold?: number,
  ) => void;
  /**
   * acts[p, i] = activation(gate_i . x[p] + gateBias[i]) upActivation(up_i . x[p] + upBias[i]), where
   * gate_i is the row at ptrs[i] and up_i the one upOffset bytes further; `gates` is scratch of the
   * shape of acts. Splits as ffnUp does.
   */
  readonly ffnGatedUp: (
    acts: Address,
    gates: Address,
    x: Address,
    ptrs: Address,
    upOffset: number,
    gateBias: Address,
    upBias: Address,
    count: number,
    cols: number,
    positions: number,
    xStride: number,
    actStride: number,
    activation: ActivationCode,
    upActivation: ActivationCode,
    scratch?: Address,
    threshold?: number,
  ) => void;
  /**
   * For one position, sums of acts[i] down_i[c] over i of each group [groupStart, groupEnd), where
   * down_i are the weights at ptrs[i] + downOffset bytes and entry i < count is number first + i of a
   * list that is cut into groups of {@link neuronGroup}. The sum of group g is row g - floor(first /
   * neuronGroup) of `sums`, (groups, cols); the part of a group that lies before `first` must be there
   * already. Neurons with activation 0 are skipped. `fold` adds the sums to y: the same to the bit as
   * ffnDown, however list and groups are split.
   */
  readonly ffnSums: (
    sums: Address,
    acts: Address,
    ptrs: Address,
    downOffset: number,
    first: number,
    count: number,
    cols: number,
    groupStart: number,
    groupEnd: number,
  ) => void;
  /**
   * y[p, c] += sum over i < count of acts[p, i] down_i[c] for colStart <= c < colEnd, group by group:
   * `sums`, of the shape of y, holds that of the group which is not complete, 0 at the beginning; the
   * caller adds what is left there at the end. The same to the bit however list and columns are split.
   */
  readonly ffnDown: (
    y: Address,
    sums: Address,
    acts: Address,
    ptrs: Address,
    downOffset: number,
    first: number,
    count: number,
    colStart: number,
    colEnd: number,
    positions: number,
    yStride: number,
    actStride: number,
    scratch?: Address,
  ) => void;
  /**
   * ffnSums over a list of neurons in the order of their ids, whose groups are ranges of ids: group g
   * of `groups` ends at entry bounds[g] (u32) of `count`; what lies behind the last bound is an open
   * group, g = groups. The sum of group g is row g of `sums`, (groups + 1, cols), of which
   * [groupStart, groupEnd) are made; when `continued` is 1, that of group 0 goes on from what is there.
   */
  readonly ffnListSums: (
    sums: Address,
    acts: Address,
    ptrs: Address,
    downOffset: number,
    bounds: Address,
    groups: number,
    count: number,
    cols: number,
    continued: 0 | 1,
    groupStart: number,
    groupEnd: number,
  ) => void;
  /** ffnDown over such a list. The same to the bit for a position whatever else is on the list. */
  readonly ffnListDown: (
    y: Address,
    sums: Address,
    acts: Address,
    ptrs: Address,
    downOffset: number,
    bounds: Address,
    groups: number,
    count: number,
    colStart: number,
    colEnd: number,
    positions: number,
    yStride: number,
    actStride: number,
    scratch?: Address,
  ) => void;
  /** dst[0..n) (f32) = src[0..n) (weights of one row). */
  readonly toF32: (dst: Address, src: Address, n: number) => void;
}

/** What exists once per format that weights are stored in. */
export interface DTypeKernels extends WeightKernels {
  /**
   * dst[0..n) (weights of one row) = src[0..n) (f32), to nearest, ties to even, overflow to infinity;
   * for q8 and q4 with the scales that assembly/quantise.ts chooses.
   */
  readonly fromF32: (dst: Address, src: Address, n: number) => void;
  /** Index of the first NaN or infinity among n weights of one row, or -1; q8, q4: of its block. */
  readonly firstNonFinite: (src: Address, n: number) => number;
}

/**
 * f16 that stays in memory is packed (assembly/packed.ts): the same numbers in an arrangement that
 * takes a quarter less time to multiply with, or better. The results of kernels are the same to the
 * bit as those of f16.
 */
export interface PackedKernels extends WeightKernels {
  /** 1 if n f16 can be packed: all are below 64. */
  readonly packable: (src: Address, n: number) => number;
  /**
   * Packs f16 where they are: of each of `units` bundles (or rows), `unitBytes` apart, the first `rows`
   * rows of `cols` each.
   */
  readonly pack: (w: Address, units: number, unitBytes: number, rows: number, cols: number) => void;
}

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
  k: Address,
  v: Address,
  scores: Address,
  headStart: number,
  headEnd: number,
  group: number,
  headDim: number,
  kvStride: number,
  qStride: number,
  outStride: number,
  start: number,
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
   * Causal attention of heads [headStart, headEnd) for positions start to start + positions - 1,
   * whose keys and values are already in the cache; row j of k and v belongs to position j, query
   * head h reads kv head h / group. A position sees the last `window` rows up to its own; to the score
   * of row j, before the scale, is added bias[h, j], if there is a bias. `scores` is scratch of
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

/** Elements of scratch that `attention` needs. */
export function attentionScratch(start: number, positions: number): number {
  return start + positions;
}

/** What computes with weights of a format. */
export function weightKernels(
  { byDType, packedF16 }: Pick<Kernels, 'byDType' | 'packedF16'>,
  format: WeightFormat,
): WeightKernels {
  return format === 'packed_f16' ? packedF16 : byDType[format];
}
