/** How the kernels of a weight format are split over threads: one row per kernel. */

import { byteLength, type DType, isQuantised } from '../../dtype.ts';
import { scratchBytes, type WeightFormat } from '../weight-kernels.ts';
import { type Split, split } from './split.ts';

const f32Bytes = 4;
/** Elements of vectors that are split: a cache line in any format, and whole blocks of weights. */
export const elements = 64;
/** Of conversions and elementwise kernels, per element; bound by memory. */
export const conversionWork = 1;

/**
 * Positions of an FFN's down product that stay together, as columns are unpacked once for all of
 * them: with two threads 64 positions gain 1.7 in four shares, 1.4 in eight, 1.1 in sixteen. Cut by
 * columns instead, they gain nothing.
 */
const positionsTogether = ({ positions }: { readonly positions: number }) =>
  Math.max(4, Math.ceil(positions / 4));

/** FFN down of several positions; `list` says how the neurons are listed. */
const downSplit = (list: readonly ('first' | 'bounds' | 'groups' | 'count')[]) =>
  split({
    parameters: [
      'y',
      'sums',
      'acts',
      'ptrs',
      'downOffset',
      ...list,
      'colStart',
      'colEnd',
      'positions',
      'yStride',
      'actStride',
      'scratch',
    ],
    over: 'positions',
    granule: positionsTogether,
    moves: {
      y: (a) => f32Bytes * a.yStride,
      sums: (a) => f32Bytes * a.yStride,
      acts: (a) => f32Bytes * a.actStride,
    },
    work: (a) => a.count * (a.colEnd - a.colStart) * a.positions,
    scratch: {
      parameter: 'scratch',
      bytes: (a) => scratchBytes(a.colEnd - a.colStart),
      optional: true,
    },
  });

/** Kernels that compute with weights of one format, by the names of their exports. */
export function weightSplits(format: WeightFormat): [string, Split][] {
  const dtype = format === 'packed_f16' ? 'f16' : format;
  const elementBytes = byteLength(dtype, elements) / elements;
  // Where weights are quantised, activations are too, and kept there.
  const optional = !isQuantised(dtype);
  return [
    [
      `matmul_${format}`,
      split({
        parameters: [
          'y',
          'x',
          'w',
          'bias',
          'rows',
          'cols',
          'positions',
          'xStride',
          'yStride',
          'scratch',
        ],
        over: 'rows',
        granule: 4,
        moves: {
          y: f32Bytes,
          w: (a) => byteLength(dtype, a.cols),
          bias: (a) => (a.bias === 0 ? 0 : f32Bytes),
        },
        work: (a) => a.rows * a.cols * a.positions,
        scratch: { parameter: 'scratch', bytes: (a) => scratchBytes(a.cols), optional },
      }),
    ],
    [
      `ffn_up_${format}`,
      split({
        parameters: [
          'acts',
          'x',
          'ptrs',
          'bias',
          'count',
          'cols',
          'positions',
          'xStride',
          'actStride',
          'activation',
          'scratch',
          'threshold',
        ],
        over: 'count',
        granule: 4,
        moves: {
          acts: f32Bytes,
          ptrs: 4,
          bias: (a) => (a.bias === 0 ? 0 : f32Bytes),
        },
        work: (a) => a.count * a.cols * a.positions,
        scratch: { parameter: 'scratch', bytes: (a) => scratchBytes(a.cols), optional },
      }),
    ],
    [
      `ffn_gated_up_${format}`,
      split({
        parameters: [
          'acts',
          'gates',
          'x',
          'ptrs',
          'upOffset',
          'gateBias',
          'upBias',
          'count',
          'cols',
          'positions',
          'xStride',
          'actStride',
          'activation',
          'upActivation',
          'scratch',
          'threshold',
        ],
        over: 'count',
        granule: 4,
        moves: {
          acts: f32Bytes,
          gates: f32Bytes,
          ptrs: 4,
          gateBias: (a) => (a.gateBias === 0 ? 0 : f32Bytes),
          upBias: (a) => (a.upBias === 0 ? 0 : f32Bytes),
        },
        work: (a) => 2 * a.count * a.cols * a.positions,
        scratch: { parameter: 'scratch', bytes: (a) => scratchBytes(a.cols), optional },
      }),
    ],
    [
      `ffn_sums_${format}`,
      split({
        parameters: [
          'sums',
          'acts',
          'ptrs',
          'downOffset',
          'first',
          'count',
          'cols',
          'groupStart',
          'groupEnd',
        ],
        over: ['groupStart', 'groupEnd'],
        granule: 1,
        moves: {},
        work: (a) => a.count * a.cols,
      }),
    ],
    [`ffn_down_${format}`, downSplit(['first', 'count'])],
    [
      `ffn_list_sums_${format}`,
      split({
        parameters: [
          'sums',
          'acts',
          'ptrs',
          'downOffset',
          'bounds',
          'groups',
          'count',
          'cols',
          'continued',
          'groupStart',
          'groupEnd',
        ],
        over: ['groupStart', 'groupEnd'],
        granule: 1,
        moves: {},
        work: (a) => a.count * a.cols,
      }),
    ],
    [`ffn_list_down_${format}`, downSplit(['bounds', 'groups', 'count'])],
    [
      `${format}_to_f32`,
      split({
        parameters: ['dst', 'src', 'n'],
        over: 'n',
        granule: elements,
        moves: { dst: f32Bytes, src: elementBytes },
        work: (a) => a.n * conversionWork,
      }),
    ],
  ];
}

/** Conversions to one weight format, and checks of it. */
export function conversionSplits(dtype: DType): [string, Split][] {
  const elementBytes = byteLength(dtype, elements) / elements;
  return [
    [
      `f32_to_${dtype}`,
      split({
        parameters: ['dst', 'src', 'n'],
        over: 'n',
        granule: elements,
        moves: { dst: elementBytes, src: f32Bytes },
        work: (a) => a.n * conversionWork,
      }),
    ],
    [
      `first_non_finite_${dtype}`,
      split({
        parameters: ['src', 'n'],
        over: 'n',
        granule: elements,
        moves: { src: elementBytes },
        work: (a) => a.n * conversionWork,
        result: (results, shares, step) => {
          const share = results.subarray(0, shares).findIndex((index) => index >= 0);
          return share === -1 ? -1 : share * step + (results[share] ?? 0);
        },
      }),
    ],
  ];
}

/** How f16 is packed. */
export const packingSplits: readonly [string, Split][] = [
  [
    'pack_f16',
    split({
      parameters: ['w', 'units', 'unitBytes', 'rows', 'cols'],
      over: 'units',
      granule: 1,
      moves: { w: (a) => a.unitBytes },
      work: (a) => a.units * a.rows * a.cols * conversionWork,
    }),
  ],
  [
    'packable_f16',
    split({
      parameters: ['src', 'n'],
      over: 'n',
      granule: elements,
      moves: { src: byteLength('f16', 1) },
      work: (a) => a.n * conversionWork,
      result: (results, shares) => Math.min(...results.subarray(0, shares)),
    }),
  ],
];
