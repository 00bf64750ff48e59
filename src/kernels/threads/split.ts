/**
 * How each kernel is split over threads: one row per kernel. What may be split without a bit of
 * difference is what the kernels promise (see kernels.ts).
 */

import { byteLength, type DType, dtypeNames, isQuantised } from '../../dtype.ts';
import { attentionScratch, scratchBytes } from '../kernels.ts';

/** The arguments of a call by name. */
type Arguments<Name extends string> = Readonly<Record<Name, number>>;
type Reckoned<Name extends string> = (a: Arguments<Name>) => number;

/** A row of the table. */
interface SplitRow<Name extends string> {
  /** The kernel's parameters, in their order. */
  readonly parameters: readonly Name[];
  /** What is split: the parameter that is a count, or the two that begin and end a range. */
  readonly over: NoInfer<Name> | readonly [begin: NoInfer<Name>, end: NoInfer<Name>];
  /** Shares are multiples of this, but for the last. */
  readonly granule: number | Reckoned<NoInfer<Name>>;
  /** By how much other arguments grow for each unit of `over`. */
  readonly moves: Partial<Record<NoInfer<Name>, number | Reckoned<NoInfer<Name>>>>;
  /** The whole call's work in multiply-adds or the like, each about 0.3 ns. */
  readonly work: Reckoned<NoInfer<Name>>;
  /** The parameter of which each thread needs its own: how many bytes, and whether it can be 0. */
  readonly scratch?: {
    readonly parameter: NoInfer<Name>;
    readonly bytes: Reckoned<NoInfer<Name>>;
    readonly optional: boolean;
  };
  /** The call's result from those of its shares; `step` units each. */
  readonly result?: (results: Float64Array, shares: number, step: number) => number;
}

/** A row with names made indices, read off the arguments that `values` was set to. */
export interface Split {
  values: readonly number[];
  readonly parameters: number;
  /** -1 when `end` is a count. */
  readonly begin: number;
  readonly end: number;
  readonly granule: () => number;
  readonly moves: readonly { readonly index: number; readonly stride: () => number }[];
  readonly work: () => number;
  readonly scratch:
    | { readonly index: number; readonly bytes: () => number; readonly optional: boolean }
    | undefined;
  readonly result: SplitRow<string>['result'];
}

function split<const Name extends string>(row: SplitRow<Name>): Split {
  const named = {};
  const index = (name: Name) => row.parameters.indexOf(name);
  const reckon = (value: number | Reckoned<Name>) =>
    typeof value === 'number' ? () => value : () => value(named as Arguments<Name>);
  const [begin, end] = typeof row.over === 'string' ? [undefined, row.over] : row.over;
  const compiled: Split = {
    values: [],
    parameters: row.parameters.length,
    begin: begin === undefined ? -1 : index(begin),
    end: index(end),
    granule: reckon(row.granule),
    moves: [
      ...(begin === undefined ? [] : [{ index: index(begin), stride: () => 1 }]),
      ...(Object.entries(row.moves) as [Name, number | Reckoned<Name>][]).map(([name, move]) => ({
        index: index(name),
        stride: reckon(move),
      })),
    ],
    work: reckon(row.work),
    scratch: row.scratch && {
      index: index(row.scratch.parameter),
      bytes: reckon(row.scratch.bytes),
      optional: row.scratch.optional,
    },
    result: row.result,
  };
  row.parameters.forEach((name, i) => {
    Object.defineProperty(named, name, { get: () => compiled.values[i] ?? 0 });
  });
  return compiled;
}

const f32Bytes = 4;
/** Elements of vectors that are split: a cache line in any format, and whole blocks of weights. */
const elements = 64;
/** Of conversions and elementwise kernels, per element; bound by memory. */
const conversionWork = 1;

/** Kernels of one weight format, by the names of their exports. */
function weightSplits(dtype: DType): [string, Split][] {
  const elementBytes = byteLength(dtype, elements) / elements;
  // Where weights are quantised, activations are too, and kept there.
  const optional = !isQuantised(dtype);
  return [
    [
      `matmul_${dtype}`,
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
      `ffn_up_${dtype}`,
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
      `ffn_gated_up_${dtype}`,
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
      `ffn_sums_${dtype}`,
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
    [
      `ffn_down_${dtype}`,
      split({
        parameters: [
          'y',
          'sums',
          'acts',
          'ptrs',
          'downOffset',
          'first',
          'count',
          'colStart',
          'colEnd',
          'positions',
          'yStride',
          'actStride',
          'scratch',
        ],
        over: ['colStart', 'colEnd'],
        granule: elements,
        moves: {},
        work: (a) => a.count * (a.colEnd - a.colStart) * a.positions,
        scratch: {
          parameter: 'scratch',
          bytes: (a) => scratchBytes(a.colEnd - a.colStart),
          optional: true,
        },
      }),
    ],
    [
      `ffn_list_sums_${dtype}`,
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
    [
      `ffn_list_down_${dtype}`,
      split({
        parameters: [
          'y',
          'sums',
          'acts',
          'ptrs',
          'downOffset',
          'bounds',
          'groups',
          'count',
          'colStart',
          'colEnd',
          'positions',
          'yStride',
          'actStride',
          'scratch',
        ],
        over: ['colStart', 'colEnd'],
        granule: elements,
        moves: {},
        work: (a) => a.count * (a.colEnd - a.colStart) * a.positions,
        scratch: {
          parameter: 'scratch',
          bytes: (a) => scratchBytes(a.colEnd - a.colStart),
          optional: true,
        },
      }),
    ],
    [
      `${dtype}_to_f32`,
      split({
        parameters: ['dst', 'src', 'n'],
        over: 'n',
        granule: elements,
        moves: { dst: f32Bytes, src: elementBytes },
        work: (a) => a.n * conversionWork,
      }),
    ],
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
      'k',
      'v',
      'scores',
      'headStart',
      'headEnd',
      'group',
      'headDim',
      'kvStride',
      'qStride',
      'outStride',
      'start',
      'positions',
      'scale',
      'window',
      'bias',
      'biasStride',
    ],
    over: ['headStart', 'headEnd'],
    // Heads that read the same keys and values stay together, unless these are too many.
    granule: (a) => Math.min(a.group, 4),
    moves: {},
    work: (a) =>
      (a.headEnd - a.headStart) *
      a.positions *
      2 *
      a.headDim *
      Math.min(a.window, a.start + (a.positions + 1) / 2),
    scratch: {
      parameter: 'scores',
      bytes: (a) => f32Bytes * attentionScratch(a.start, a.positions),
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
    ...dtypeNames.flatMap(weightSplits),
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
