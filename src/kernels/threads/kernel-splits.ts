/**
 * How each kernel is split over threads: one row per kernel. The kernels guarantee which splits leave the
 * result the same to the bit (see kernel-table.ts and format-kernel-table.ts).
 */

import { formatNames, formats } from '../../dtype.ts';
import { formatExports, type KernelExport, plainExports } from '../bind.ts';
import { kernelSizes } from '../constants.ts';
import type { kernelTable } from '../kernel-table.ts';
import { attentionScratch } from '../kernels.ts';
import { type Split, type SplitOf, type SplitRow, split } from './split.ts';
import { conversionWork, elements, f32Bytes, formatSplits } from './weight-splits.ts';

/** Splits whole vectors; the named addresses advance with each share. */
const elementwise = <Name extends string>(
  work: number,
  ...moving: readonly Name[]
): SplitRow<Name | 'n'> => ({
  over: 'n',
  granule: elements,
  moves: Object.fromEntries(moving.map((name) => [name, f32Bytes])) as Partial<
    Record<Name | 'n', number>
  >,
  work: (a) => a.n * work,
});

const transpose = (elementBytes: number): SplitOf<(typeof kernelTable)['transpose16']> => ({
  over: 'cols',
  granule: 32,
  moves: { dst: (a) => a.dstStrideBytes, src: elementBytes },
  work: (a) => a.rows * a.cols * 2 * conversionWork,
});

/** For a cache of any format: the kernel knows the width of its elements. */
const attention: SplitOf<(typeof kernelTable)['attention']> = {
  over: ['headStart', 'headEnd'],
  // Heads that read the same keys and values stay together, unless there are too many of them.
  granule: ({ group }) =>
    group <= 2 * kernelSizes.headsTogether ? group : kernelSizes.headsTogether,
  moves: {},
  work: (a) =>
    (a.headEnd - a.headStart) *
    a.positions *
    2 *
    a.headDim *
    Math.min(a.window, a.length - (a.positions - 1) / 2),
  scratch: {
    parameter: 'scores',
    bytes: (a) => f32Bytes * attentionScratch(a.length),
    optional: false,
  },
};

/** Splits by position: a single position has too little work to split. */
const rotary: SplitOf<(typeof kernelTable)['rotaryHalves']> = {
  over: 'positions',
  granule: 1,
  moves: {
    x: (a) => f32Bytes * a.xStride,
    cos: (a) => f32Bytes * a.pairs,
    sin: (a) => f32Bytes * a.pairs,
  },
  work: (a) => a.heads * a.pairs * a.positions * 2,
};

const plainSplits: {
  readonly [Name in keyof typeof kernelTable]: SplitOf<(typeof kernelTable)[Name]>;
} = {
  attention,
  attentionF16: attention,
  rotaryHalves: rotary,
  rotaryInterleaved: rotary,
  layerNorm: {
    over: 'positions',
    granule: 1,
    moves: { y: (a) => f32Bytes * a.yStride, x: (a) => f32Bytes * a.xStride },
    work: (a) => a.n * a.positions * 3,
  },
  rmsNorm: {
    over: 'positions',
    granule: 1,
    moves: { y: (a) => f32Bytes * a.yStride, x: (a) => f32Bytes * a.xStride },
    work: (a) => a.n * a.positions * 2,
  },
  roundRows: {
    over: 'positions',
    granule: 1,
    moves: { x: (a) => f32Bytes * a.xStride },
    work: (a) => a.n * a.positions,
  },
  fold: {
    over: 'n',
    granule: elements,
    moves: { y: f32Bytes, x: f32Bytes },
    work: (a) => a.rows * a.n,
  },
  add: elementwise(1, 'y', 'x'),
  multiply: elementwise(1, 'y', 'x'),
  clampedGate: elementwise(5, 'y', 'x'),
  clamp: elementwise(1, 'x'),
  scale: elementwise(1, 'x'),
  softCap: elementwise(6, 'x'),
  activation: elementwise(4, 'x'),
  transpose16: transpose(2),
  transpose32: transpose(4),
  copyRows: {
    over: 'rows',
    granule: 1,
    moves: { dst: (a) => a.dstStrideBytes, src: (a) => a.srcStrideBytes },
    work: (a) => ((a.rows * a.rowBytes) / f32Bytes) * conversionWork,
  },
  gatherRows: {
    over: 'count',
    granule: 1,
    moves: { dst: (a) => f32Bytes * a.n, rows: f32Bytes },
    work: (a) => a.count * a.n * conversionWork,
  },
  addChoices: {
    over: 'positions',
    granule: 1,
    moves: { y: (a) => f32Bytes * a.n, choices: (a) => kernelSizes.choiceBytes * a.each },
    work: (a) => a.positions * a.each * a.n,
  },
  gemm: {
    over: 'm',
    granule: 4,
    moves: { c: (a) => f32Bytes * a.cStride, a: (a) => f32Bytes * a.aRowStride },
    work: (a) => a.m * a.n * a.k,
  },
  logisticGradient: {
    over: 'positions',
    granule: 1,
    moves: { scores: (a) => f32Bytes * a.scoreStride, acts: (a) => f32Bytes * a.actStride },
    work: (a) => a.n * a.positions * 8,
  },
  adamw: elementwise(8, 'w', 'g', 'm', 'v'),
  readSum: {
    over: 'bytes',
    granule: 256,
    moves: { src: 1 },
    work: (a) => (a.bytes / f32Bytes) * conversionWork,
    result: (results, shares) => results.subarray(0, shares).reduce((a, b) => a + b, 0) | 0,
  },
  // Not split, as each call has too little work: a list of some neurons, or their bits.
  countActive: null,
  positiveBits: null,
  unionIds: null,
  wantedActs: null,
};

/** Every kernel that is split, by the name of its export; others run on the caller alone. */
export function kernelSplits(): ReadonlyMap<string, Split> {
  const compiled = new Map<string, Split>();
  const add = (exports: readonly KernelExport[], table: object) => {
    // The names in each row were type-checked at its definition; here, rows are of any kernel.
    const rows = table as Readonly<Record<string, SplitRow<string> | null>>;
    for (const { name, kernel, signature } of exports) {
      const row = rows[kernel] ?? null;
      if (row !== null) compiled.set(name, split(signature, row));
    }
  };
  add(plainExports, plainSplits);
  for (const name of formatNames) add(formatExports(name), formatSplits(formats[name]));
  return compiled;
}
