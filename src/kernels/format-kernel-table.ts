/**
 * The kernels that exist once per format of weights, one row each, as in kernel-table.ts. A row names the
 * implementation for each format that has the kernel; the export is called `<kernel>_<format>`. To add a
 * format, add a row in dtype.ts, its arithmetic in assembly, and a line in format-arithmetic.ts.
 *
 * Weights are finite; those that are denormal as f32 (below 1.2e-38) count as 0 in matmul, ffnUp and
 * ffnDown. `scratch` is of `scratchBytes(cols)`. A row of n weights is of the format's `rowBytes(n)`.
 */

import type { DType, EncodedDType, FormatName, RowFormat } from '../dtype.ts';
import {
  arithmetic,
  each,
  foursArithmetic,
  ggufArithmetic,
  groupArithmetic,
  neuronArithmetic,
} from './format-arithmetic.ts';
import type { Signature } from './signature.ts';

interface FormatKernelRow extends Signature {
  /** By the names of formats. */
  readonly implementations: Readonly<Partial<Record<FormatName, string>>>;
}

const biasedProduct = [
  'y: address',
  'x: address',
  'w: address',
  'bias: address',
  'rows: i32',
  'cols: i32',
  'positions: i32',
  'xStride: size',
  'yStride: size',
  'scratch?: address',
] as const;

const conversion = ['dst: address', 'src: address', 'n: i32'] as const;

export const formatKernelTable = {
  /**
   * Quantises x for formats whose products round activations to 8 bits, so that several products can share
   * the result: writes `cols` columns of x, (positions, xStride), to their places in the buffer at q, which
   * has `quantisedBytes(xStride, positions)`. Whole groups of 32. With `quantised` 1, matmul, tileRows and
   * tileSums of the same format and number of positions take q instead of x.
   */
  quantise: {
    parameters: ['q: address', 'x: address', 'cols: i32', 'positions: i32', 'xStride: size'],
    implementations: each(groupArithmetic, 'quantiseInput', 'codec'),
  },
  /**
   * y[p, r] = w[r] . x[p] + bias[r] for r < rows, p < positions; w is (rows, cols), contiguous. y[p, r] is
   * the same to the bit however rows and positions are split over calls. Formats that interleave four rows
   * need a multiple of four rows. `quantised`: see `quantise`.
   */
  matmul: {
    parameters: [...biasedProduct, 'quantised?: flag'],
    implementations: each(arithmetic, 'matmul', 'dots'),
  },
  /**
   * matmul in f32: the result is, to the bit, that of the f32 matmul with the weights from toF32. `scratch`
   * must be given.
   */
  exactMatmul: {
    parameters: biasedProduct,
    implementations: {
      ...each(ggufArithmetic, 'exactMatmul', 'rows'),
      ternary: 'exactMatmul<TernaryRows>',
    },
  },
  /**
   * matmul with a matrix stored in tiles of an FFN (assembly/tiles.ts): row r is row r - t perTile of tile t
   * = floor(r / perTile), whose first row is at w + t tileBytes; computes rows [rowStart, rowEnd). The result
   * is the same to the bit as matmul of each tile. Starts, ends and perTile are multiples of four where four
   * rows are interleaved.
   */
  tileRows: {
    parameters: [
      'y: address',
      'x: address',
      'w: address',
      'tileBytes: size',
      'perTile: i32',
      'rowBytes: size',
      'rowStart: i32',
      'rowEnd: i32',
      'cols: i32',
      'positions: i32',
      'xStride: size',
      'yStride: size',
      'scratch: address',
      'quantised?: flag',
    ],
    implementations: each(arithmetic, 'tileRows', 'dots'),
  },
  /**
   * y[p, r] += w_t[r] . x[p, t cols ..] for each tile t < tiles in turn, r in [rowStart, rowEnd): w_t, of
   * rows of `cols` weights, is at w + t tileBytes. `sums`, of the shape of y, is overwritten there. The
   * same to the bit as matmul of each tile, added one after the other.
   */
  tileSums: {
    parameters: [
      'y: address',
      'sums: address',
      'x: address',
      'w: address',
      'tileBytes: size',
      'tiles: i32',
      'rowBytes: size',
      'rowStart: i32',
      'rowEnd: i32',
      'cols: i32',
      'positions: i32',
      'xStride: size',
      'yStride: size',
      'scratch: address',
      'quantised?: flag',
    ],
    implementations: each(arithmetic, 'tileSums', 'dots'),
  },
  /**
   * acts[p, i] = activation(up_i . x[p] + bias[i]), where up_i is the row of `cols` weights at ptrs[i] (u32),
   * and `code` says which activation. The result is the same to the bit however list and positions are split.
   * Only fatrelu uses the threshold.
   */
  ffnUp: {
    parameters: [
      'acts: address',
      'x: address',
      'ptrs: address',
      'bias: address',
      'count: i32',
      'cols: i32',
      'positions: i32',
      'xStride: size',
      'actStride: size',
      'code: activation',
      'scratch?: address',
      'threshold?: f32',
    ],
    implementations: each(neuronArithmetic, 'ffnUp', 'dots'),
  },
  /**
   * acts[p, i] = activation(gate_i . x[p] + gateBias[i]) upActivation(up_i . x[p] + upBias[i]), where gate_i
   * is the row at ptrs[i] and up_i the one upOffset bytes further, and `code` and `upCode` say which
   * activations; `gates` is scratch of the shape of acts. Can be split like ffnUp. With relu, relu2 and
   * fatrelu, acts are 0 wherever the gate's activation is 0, and up rows that no position needs are not read.
   */
  ffnGatedUp: {
    parameters: [
      'acts: address',
      'gates: address',
      'x: address',
      'ptrs: address',
      'upOffset: size',
      'gateBias: address',
      'upBias: address',
      'count: i32',
      'cols: i32',
      'positions: i32',
      'xStride: size',
      'actStride: size',
      'code: activation',
      'upCode: activation',
      'scratch?: address',
      'threshold?: f32',
    ],
    implementations: each(neuronArithmetic, 'ffnGatedUp', 'dots'),
  },
  /**
   * Sums of acts[p, i] down_i[c] over i of each group [groupStart, groupEnd), where down_i are the weights at
   * ptrs[i] + downOffset bytes and entry i < count is number first + i of a list that is cut into groups of
   * `neuronGroup`. The sum of group g is row g - floor(first / neuronGroup) of `sums`, (groups, positions,
   * cols); it must already hold the sum of the group's part before `first`. Neurons with activation 0 are
   * skipped. `fold` adds the sums to y: the same to the bit as ffnDown, however list and groups are split.
   */
  ffnSums: {
    parameters: [
      'sums: address',
      'acts: address',
      'ptrs: address',
      'downOffset: size',
      'first: i32',
      'count: i32',
      'cols: i32',
      'positions: i32',
      'actStride: size',
      'groupStart: i32',
      'groupEnd: i32',
      'scratch?: address',
    ],
    implementations: each(neuronArithmetic, 'ffnSums', 'columns', 'unpacked'),
  },
  /**
   * y[p, c] += sum over i < count of acts[p, i] down_i[c] for colStart <= c < colEnd, group by group: `sums`,
   * of the shape of y, holds the sum of the incomplete group and is 0 at the beginning; at the end the caller
   * adds what it still holds. The same to the bit however list and columns are split. Columns of packed f16
   * begin at a multiple of 8, and end there or at the end of the row.
   */
  ffnDown: {
    parameters: [
      'y: address',
      'sums: address',
      'acts: address',
      'ptrs: address',
      'downOffset: size',
      'first: i32',
      'count: i32',
      'colStart: i32',
      'colEnd: i32',
      'positions: i32',
      'yStride: size',
      'actStride: size',
      'scratch?: address',
    ],
    implementations: each(neuronArithmetic, 'ffnDown', 'columns', 'unpacked'),
  },
  /**
   * ffnSums over a list of neurons in the order of their ids, whose groups are ranges of ids: group g of
   * `groups` ends at entry bounds[g] (u32) of `count`; entries after the last bound form an open group, g =
   * groups. The sum of group g is row g of `sums`, (groups + 1, cols), of which [groupStart, groupEnd) are
   * computed; when `continued` is 1, the sum of group 0 continues from its present value.
   */
  ffnListSums: {
    parameters: [
      'sums: address',
      'acts: address',
      'ptrs: address',
      'downOffset: size',
      'bounds: address',
      'groups: i32',
      'count: i32',
      'cols: i32',
      'continued: flag',
      'groupStart: i32',
      'groupEnd: i32',
    ],
    implementations: each(neuronArithmetic, 'ffnListSums', 'columns'),
  },
  /** ffnDown over such a list. A position's result is the same to the bit whatever else is on the list. */
  ffnListDown: {
    parameters: [
      'y: address',
      'sums: address',
      'acts: address',
      'ptrs: address',
      'downOffset: size',
      'bounds: address',
      'groups: i32',
      'count: i32',
      'colStart: i32',
      'colEnd: i32',
      'positions: i32',
      'yStride: size',
      'actStride: size',
      'scratch?: address',
    ],
    implementations: each(neuronArithmetic, 'ffnListDown', 'columns', 'unpacked'),
  },
  /** dst[0..n) (f32) = src[0..n) (weights of one row). */
  toF32: {
    parameters: conversion,
    implementations: {
      f32: 'copyF32',
      f16: 'toF32<FromF16>',
      bf16: 'toF32<FromBF16>',
      q8: 'blocksToF32<Q8>',
      q4: 'blocksToF32<Q4>',
      ternary: 'rowsToF32<TernaryRows>',
      ...each(ggufArithmetic, 'rowsToF32', 'rows'),
      packed_f16: 'unpack<PackedF16>',
    } satisfies Record<RowFormat, string>,
  },
  /**
   * Index of the first NaN or infinity among n weights of one row, or -1; for formats with blocks, the index
   * of its block.
   */
  firstNonFinite: {
    parameters: ['src: address', 'n: i32'],
    result: 'i32',
    implementations: {
      f32: 'firstNonFinite32',
      f16: 'firstNonFinite16<FromF16>',
      bf16: 'firstNonFinite16<FromBF16>',
      q8: 'firstNonFiniteBlock<Q8>',
      q4: 'firstNonFiniteBlock<Q4>',
      ternary: 'firstNonFiniteRow<TernaryRows>',
      ...each(ggufArithmetic, 'firstNonFiniteRow', 'rows'),
    } satisfies Record<DType, string>,
  },
  /**
   * dst[0..n) (weights of one row) = src[0..n) (f32), to nearest, ties to even, overflow to infinity;
   * for q8 and q4 with the scales that assembly/quantise.ts chooses, for
   * ternary with the largest of a block, for formats of GGUF files, whose rows are whole blocks, with those of assembly/make-gguf.ts.
   */
  fromF32: {
    parameters: conversion,
    implementations: {
      f32: 'copyF32',
      f16: 'fromF32<ToF16>',
      bf16: 'fromF32<ToBF16>',
      q8: 'f32ToBlocks<Q8, MakeQ8>',
      q4: 'f32ToBlocks<Q4, MakeQ4>',
      ternary: 'ternaryFromF32',
      q4_0: 'rowsFromF32<MakeQ4_0>',
      q4_1: 'rowsFromF32<MakeQ4_1>',
      q5_0: 'rowsFromF32<MakeQ5_0>',
      q5_1: 'rowsFromF32<MakeQ5_1>',
      q8_0: 'rowsFromF32<MakeQ8_0>',
      q4_k: 'rowsFromF32<MakeQ4_K>',
      q5_k: 'rowsFromF32<MakeQ5_K>',
      q6_k: 'rowsFromF32<MakeQ6_K>',
    } satisfies Record<EncodedDType, string>,
  },
  /**
   * Whether n weights can be packed, in the format that has a packed form (f16): 1 if all are below 64.
   * Packed f16 (assembly/packed.ts) holds the same numbers in an arrangement with which products take at
   * least a quarter less time. The results of kernels are the same to the bit as those of f16.
   */
  packable: {
    parameters: ['src: address', 'n: i32'],
    result: 'i32',
    implementations: { packed_f16: 'packableF16' },
  },
  /**
   * Packs f16 in place: in each of `units` bundles (or rows), `unitBytes` apart, the first `rows` rows of
   * `cols` each.
   */
  pack: {
    parameters: ['w: address', 'units: i32', 'unitBytes: size', 'rows: i32', 'cols: i32'],
    implementations: { packed_f16: 'packF16' },
  },
  /**
   * Packs a multiple of four rows of `cols` weights in place, four rows interleaved
   * (assembly/packed-groups.ts). matmul of the packed format takes multiples of four rows, and its results
   * are, to the bit, those of the unpacked rows. `scratch` is of `scratchBytes(cols)`.
   */
  packRows: {
    parameters: ['w: address', 'rows: i32', 'cols: i32', 'scratch: address'],
    implementations: each(foursArithmetic, 'packGroups', 'codec'),
  },
  /** dst = row `row` of the four packed rows of `cols` weights at `src`, unpacked. */
  unpackRow: {
    parameters: ['dst: address', 'src: address', 'row: i32', 'cols: i32'],
    implementations: each(foursArithmetic, 'unpackGroupRow', 'codec'),
  },
} as const satisfies Readonly<Record<string, FormatKernelRow>>;
