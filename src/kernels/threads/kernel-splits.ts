/**
 * How each kernel is split over threads: one row per kernel. What may be split without a bit of
 * difference is what the kernels promise (see kernels.ts and weight-kernels.ts).
 */

import { dtypeNames } from '../../dtype.ts';
import { attentionScratch, headsTogether } from '../kernels.ts';
import { type Split, split } from './split.ts';
import {
  conversionSplits,
  conversionWork,
  elements,
  packingSplits,
  weightSplits,
} from './weight-splits.ts';

const f32Bytes = 4;

/** In place on whole vectors, as `add` is. */
const elementwise = (parameters: readonly string[], moving: readonly string[], work: number) =>
  split({
    parameters,
    over: 'n',
    granule: elements,
    moves: Object.fromEntries(moving.map((name) => [name, f32Bytes])),
    work: (a) => (a.n ?? 0) * work,
  });

const transpose = (elementBytes: number) =>
  split({
    parameters: ['dst', 'src', 'rows', 'cols', 'srcStrideBytes', 'dstStrideBytes'],
    over: 'cols',
    granule: 32,
    moves: { dst: (a) => a.dstStrideBytes, src: elementBytes },
    work: (a) => a.rows * a.cols * 2 * conversionWork,
  });

/** Over a cache of any format: the kernel knows how wide its elements are. */
const attention = () =>
  split({
    parameters: [
      'out',
      'q',
      'rows',
      'keys',
      'values',
      'scores',
      'headStart',
      'headEnd',
      'group',
      'headDim',
      'kvStride',
      'qStride',
      'outStride',
      'length',
      'positions',
      'scale',
      'window',
      'bias',
      'biasStride',
    ],
    over: ['headStart', 'headEnd'],
    // Heads that read the same keys and values stay together, unless these are too many.
    granule: (a) => (a.group <= 2 * headsTogether ? a.group : headsTogether),
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
  });

/** Positions one by one: for a single one there is too little to do. */
const rotary = () =>
  split({
    parameters: ['x', 'cos', 'sin', 'heads', 'headDim', 'pairs', 'positions', 'xStride'],
    over: 'positions',
    granule: 1,
    moves: {
      x: (a) => f32Bytes * a.xStride,
      cos: (a) => f32Bytes * a.pairs,
      sin: (a) => f32Bytes * a.pairs,
    },
    work: (a) => a.heads * a.pairs * a.positions * 2,
  });

/** Every kernel that is split, by the name of its export; others run on the caller alone. */
export function kernelSplits(): ReadonlyMap<string, Split> {
  return new Map<string, Split>([
    ...[...dtypeNames, 'packed_f16' as const].flatMap(weightSplits),
    ...dtypeNames.flatMap(conversionSplits),
    ...packingSplits,
    ['attention_f32', attention()],
    ['attention_f16', attention()],
    ['rotary_halves', rotary()],
    ['rotary_neighbours', rotary()],
    [
      'layer_norm',
      split({
        parameters: ['y', 'x', 'weight', 'bias', 'n', 'positions', 'xStride', 'yStride', 'eps'],
        over: 'positions',
        granule: 1,
        moves: { y: (a) => f32Bytes * a.yStride, x: (a) => f32Bytes * a.xStride },
        work: (a) => a.n * a.positions * 3,
      }),
    ],
    [
      'rms_norm',
      split({
        parameters: ['y', 'x', 'weight', 'n', 'positions', 'xStride', 'yStride', 'eps'],
        over: 'positions',
        granule: 1,
        moves: { y: (a) => f32Bytes * a.yStride, x: (a) => f32Bytes * a.xStride },
        work: (a) => a.n * a.positions * 2,
      }),
    ],
    [
      'fold',
      split({
        parameters: ['y', 'x', 'rows', 'n', 'stride'],
        over: 'n',
        granule: elements,
        moves: { y: f32Bytes, x: f32Bytes },
        work: (a) => a.rows * a.n,
      }),
    ],
    ['add', elementwise(['y', 'x', 'n'], ['y', 'x'], 1)],
    ['multiply', elementwise(['y', 'x', 'n'], ['y', 'x'], 1)],
    ['clamp', elementwise(['x', 'n', 'limit'], ['x'], 1)],
    ['scale', elementwise(['x', 'n', 'factor'], ['x'], 1)],
    ['activation', elementwise(['x', 'n', 'activation', 'threshold'], ['x'], 4)],
    ['transpose_16', transpose(2)],
    ['transpose_32', transpose(4)],
    [
      'copy_rows',
      split({
        parameters: ['dst', 'src', 'rows', 'rowBytes', 'srcStrideBytes', 'dstStrideBytes'],
        over: 'rows',
        granule: 1,
        moves: { dst: (a) => a.dstStrideBytes, src: (a) => a.srcStrideBytes },
        work: (a) => ((a.rows * a.rowBytes) / f32Bytes) * conversionWork,
      }),
    ],
    [
      'gemm',
      split({
        parameters: [
          'c',
          'a',
          'b',
          'm',
          'n',
          'k',
          'aRowStride',
          'aColStride',
          'bStride',
          'cStride',
          'accumulate',
        ],
        over: 'm',
        granule: 4,
        moves: { c: (a) => f32Bytes * a.cStride, a: (a) => f32Bytes * a.aRowStride },
        work: (a) => a.m * a.n * a.k,
      }),
    ],
    [
      'logistic_gradient',
      split({
        parameters: [
          'scores',
          'acts',
          'importance',
          'n',
          'positions',
          'scoreStride',
          'actStride',
          'floor',
          'most',
          'idle',
        ],
        over: 'positions',
        granule: 1,
        moves: { scores: (a) => f32Bytes * a.scoreStride, acts: (a) => f32Bytes * a.actStride },
        work: (a) => a.n * a.positions * 8,
      }),
    ],
    [
      'adamw',
      split({
        parameters: [
          'w',
          'g',
          'm',
          'v',
          'n',
          'rate',
          'beta1',
          'beta2',
          'decay',
          'correction1',
          'correction2',
        ],
        over: 'n',
        granule: elements,
        moves: { w: f32Bytes, g: f32Bytes, m: f32Bytes, v: f32Bytes },
        work: (a) => a.n * 8,
      }),
    ],
    [
      'read_sum',
      split({
        parameters: ['src', 'bytes'],
        over: 'bytes',
        granule: 256,
        moves: { src: 1 },
        work: (a) => (a.bytes / f32Bytes) * conversionWork,
        result: (results, shares) => results.subarray(0, shares).reduce((a, b) => a + b, 0) | 0,
      }),
    ],
  ]);
}
