/**
 * Kernels that compute with weights, once for each format they lie in memory in; what kernels.ts says
 * of addresses and strides holds here as well.
 */

import type { DType } from '../dtype.ts';
import type { ActivationCode, Address, Kernels } from './kernels.ts';

/** Formats of weights in memory, as the exports name them. */
export type WeightFormat = DType | 'packed_f16';

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
   * shape of acts. Splits as ffnUp does. With relu, relu2 and fatrelu, acts are 0 wherever the gate's
   * activation is, and up rows that are needed for no position are not read.
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

/** What computes with weights of a format. */
export function weightKernels(
  { byDType, packedF16 }: Pick<Kernels, 'byDType' | 'packedF16'>,
  format: WeightFormat,
): WeightKernels {
  return format === 'packed_f16' ? packedF16 : byDType[format];
}
