/** How the kernels of a weight format are split over threads: one row per kernel. */

import type { Format } from '../../dtype.ts';
import { kernelSizes } from '../constants.ts';
import type { formatKernelTable } from '../format-kernel-table.ts';
import { quantisedStride, scratchBytes } from '../weight-kernels.ts';
import type { SplitOf, SplitRow } from './split.ts';

export const f32Bytes = 4;
/** Elements of vectors that are split: a cache line in any format. */
export const elements = 64;
/** Work of conversions and elementwise kernels per element; these are limited by memory bandwidth. */
export const conversionWork = 1;

/**
 * Positions of an FFN's down projection that stay together, as columns are unpacked once for all of them:
 * with two threads, 64 positions are 1.7 times as fast in four shares, 1.4 times in eight, 1.1 times in
 * sixteen. Cutting by columns instead gains nothing.
 */
const positionsTogether = ({ positions }: { readonly positions: number }) =>
  Math.max(4, Math.ceil(positions / 4));

/** Down projection of several positions, for any form of list of neurons. */
const down: SplitRow<
  | 'y'
  | 'sums'
  | 'acts'
  | 'count'
  | 'colStart'
  | 'colEnd'
  | 'positions'
  | 'yStride'
  | 'actStride'
  | 'scratch'
> = {
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
};

/** Down projection of one position. */
const sums: SplitRow<'count' | 'cols' | 'groupStart' | 'groupEnd'> = {
  over: ['groupStart', 'groupEnd'],
  granule: 1,
  moves: {},
  work: (a) => a.count * a.cols,
};
/** The same for a few positions. */
const fewSums: SplitRow<'count' | 'cols' | 'positions' | 'groupStart' | 'groupEnd' | 'scratch'> = {
  ...sums,
  work: (a) => a.count * a.cols * a.positions,
  scratch: { parameter: 'scratch', bytes: (a) => scratchBytes(a.cols), optional: true },
};

type Table = typeof formatKernelTable;

/** Tells whether each share quantises activations. */
interface Quantising {
  readonly positions: number;
  readonly quantised: number;
}
/** Work of quantising a value. */
const quantisingWork = 4;

/** Rows for all kernels of formats, whether this format has them or not. */
export function formatSplits(format: Format): {
  readonly [Kernel in keyof Table]: SplitOf<Table[Kernel]>;
} {
  // Whole blocks of weights.
  const granule = Math.max(elements, format.blockElements);
  const elementBytes = format.rowBytes(granule) / granule;
  // Where weights are quantised, the scratch also holds quantised activations.
  const optional = !format.quantised;
  // Each share quantises the activations of all positions itself unless they are quantised already: this
  // takes as long as products with some 25 rows.
  const quantisesAll = (a: Quantising) => format.quantised && a.positions > 2 && a.quantised === 0;
  // From three positions on, eight rows are unpacked at once.
  const rowsTogether = (a: Quantising) => (quantisesAll(a) ? 16 : a.positions > 2 ? 8 : 4);
  const sharesFor = (rows: number, a: Quantising) =>
    quantisesAll(a) ? Math.max(1, Math.floor(rows / 512)) : Number.POSITIVE_INFINITY;
  return {
    quantise: {
      over: 'cols',
      granule: kernelSizes.quantisedGroup,
      moves: { q: (a) => quantisedStride(a.positions), x: f32Bytes },
      work: (a) => a.cols * a.positions * quantisingWork,
    },
    matmul: {
      over: 'rows',
      granule: rowsTogether,
      sharesPerThread: (a) => sharesFor(a.rows, a),
      moves: {
        y: f32Bytes,
        w: (a) => format.rowBytes(a.cols),
        bias: (a) => (a.bias === 0 ? 0 : f32Bytes),
      },
      work: (a) => a.rows * a.cols * a.positions,
      scratch: { parameter: 'scratch', bytes: (a) => scratchBytes(a.cols), optional },
    },
    exactMatmul: {
      over: 'rows',
      granule: 4,
      moves: {
        y: f32Bytes,
        w: (a) => format.rowBytes(a.cols),
        bias: (a) => (a.bias === 0 ? 0 : f32Bytes),
      },
      work: (a) => a.rows * a.cols * a.positions,
      scratch: { parameter: 'scratch', bytes: (a) => scratchBytes(a.cols), optional: false },
    },
    tileRows: {
      over: ['rowStart', 'rowEnd'],
      granule: rowsTogether,
      sharesPerThread: (a) => sharesFor(a.rowEnd - a.rowStart, a),
      moves: {},
      work: (a) => (a.rowEnd - a.rowStart) * a.cols * a.positions,
      scratch: { parameter: 'scratch', bytes: (a) => scratchBytes(a.cols), optional },
    },
    tileSums: {
      over: ['rowStart', 'rowEnd'],
      granule: rowsTogether,
      sharesPerThread: (a) => sharesFor(a.rowEnd - a.rowStart, a),
      moves: {},
      work: (a) => a.tiles * (a.rowEnd - a.rowStart) * a.cols * a.positions,
      scratch: { parameter: 'scratch', bytes: (a) => scratchBytes(a.cols), optional },
    },
    ffnUp: {
      over: 'count',
      granule: 4,
      moves: {
        acts: f32Bytes,
        ptrs: 4,
        bias: (a) => (a.bias === 0 ? 0 : f32Bytes),
      },
      work: (a) => a.count * a.cols * a.positions,
      scratch: { parameter: 'scratch', bytes: (a) => scratchBytes(a.cols), optional },
    },
    ffnGatedUp: {
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
    },
    ffnSums: fewSums,
    ffnDown: down,
    ffnListSums: sums,
    ffnListDown: down,
    toF32: {
      over: 'n',
      granule,
      moves: { dst: f32Bytes, src: elementBytes },
      work: (a) => a.n * conversionWork,
    },
    fromF32: {
      over: 'n',
      granule,
      moves: { dst: elementBytes, src: f32Bytes },
      work: (a) => a.n * conversionWork,
    },
    firstNonFinite: {
      over: 'n',
      granule,
      moves: { src: elementBytes },
      work: (a) => a.n * conversionWork,
      result: (results, shares, step) => {
        const share = results.subarray(0, shares).findIndex((index) => index >= 0);
        return share === -1 ? -1 : share * step + (results[share] ?? 0);
      },
    },
    pack: {
      over: 'units',
      granule: 1,
      moves: { w: (a) => a.unitBytes },
      work: (a) => a.units * a.rows * a.cols * conversionWork,
    },
    packRows: {
      over: 'rows',
      granule: 4,
      moves: { w: (a) => format.rowBytes(a.cols) },
      work: (a) => a.rows * a.cols * conversionWork,
      scratch: { parameter: 'scratch', bytes: (a) => scratchBytes(a.cols), optional: false },
    },
    unpackRow: null,
    packable: {
      over: 'n',
      granule,
      moves: { src: elementBytes },
      work: (a) => a.n * conversionWork,
      result: (results, shares) => Math.min(...results.subarray(0, shares)),
    },
  };
}
