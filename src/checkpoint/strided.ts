/**
 * Tensors that are views: any shape over any strides of a storage in a file, read in row-major
 * order. A transposed matrix of many gigabytes is read through a window of bounded size.
 *
 * The requested elements are divided into boxes (see `boxes`). Each box is traversed in the order of the
 * storage, not of the tensor, and elements that lie close together are read at once:
 *
 *     view, row-major          storage, as in the file
 *     a b c  <- wanted         a . b . c . d . e . f .
 *     d e f                    |--------|               one read, gathered into the target
 */

import type { RangeFile } from './file.ts';
import { type Gather, gatherFor } from './gather.ts';
import { elementCount } from './shape.ts';

/** Most bytes read at once to gather from; also the memory of one read call. */
const windowBytes = 2 ** 20;

/**
 * The largest gap, in bytes, that is read rather than skipped: about what a disk reads in the time of a
 * seek.
 */
const maxGapBytes = 2 ** 16;

/** One dimension of a view: `size` steps of `stride` elements of the storage. */
export interface Dimension {
  readonly size: number;
  readonly stride: number;
}

/** Part of a view: for every dimension the first index and how many. */
type Box = readonly { readonly start: number; readonly size: number }[];

/**
 * The same traversal of the storage in as few dimensions as possible: dimensions of size 1 are dropped, and
 * neighbours that step evenly are merged.
 */
export function simplify(shape: readonly number[], strides: readonly number[]): Dimension[] {
  const dimensions: Dimension[] = [];
  shape.forEach((size, d) => {
    const stride = strides[d] as number;
    const outer = dimensions.at(-1);
    if (size === 1) return;
    if (outer?.stride === size * stride) {
      dimensions[dimensions.length - 1] = { size: outer.size * size, stride };
    } else {
      dimensions.push({ size, stride });
    }
  });
  return dimensions;
}

/** True when the elements follow each other without gaps. */
export function isContiguous(dimensions: readonly Dimension[]): boolean {
  return dimensions.length === 0 || (dimensions.length === 1 && dimensions[0]?.stride === 1);
}

/** Location of a view in a file. */
export interface StridedView {
  readonly name: string;
  /** Byte in the file of the view's element 0. */
  readonly offset: number;
  readonly elementBytes: number;
  readonly dimensions: readonly Dimension[];
}

/** Reads elements [start, start + count) of `view` in row-major order into `target`. */
export async function readStrided(
  file: RangeFile,
  view: StridedView,
  start: number,
  count: number,
  target: Uint8Array,
): Promise<void> {
  if (count === 0) return;
  const { offset, elementBytes, dimensions, name } = view;
  if (isContiguous(dimensions)) {
    await file.read(offset + start * elementBytes, target, name);
    return;
  }
  const window = new Uint8Array(windowBytes);
  const batch: Run[] = [];
  const gather = gatherFor(window, target, elementBytes);
  for (const run of runs(dimensions, start, count, elementBytes)) {
    if (!fits(batch, run, elementBytes)) await flush(file, view, batch, window, gather);
    batch.push(run);
  }
  await flush(file, view, batch, window, gather);
}

/** Elements evenly spaced both in the storage and in the target; positions and steps in elements. */
interface Run {
  readonly from: number;
  readonly fromStep: number;
  readonly to: number;
  readonly toStep: number;
  readonly count: number;
}

/** Position in the storage just after the last element of `run`. */
function endOf(run: Run): number {
  return run.from + (run.count - 1) * run.fromStep + 1;
}

/** The most runs that are collected before a read, so that the batch itself stays small. */
const maxBatch = 2 ** 13;

function fits(batch: readonly Run[], run: Run, elementBytes: number): boolean {
  const [first] = batch;
  const last = batch.at(-1);
  if (first === undefined || last === undefined) return true;
  return (
    batch.length < maxBatch &&
    run.from >= first.from &&
    (run.from - endOf(last)) * elementBytes <= maxGapBytes &&
    (endOf(run) - first.from) * elementBytes <= windowBytes
  );
}

/** Reads the span of the batch at once and distributes it over the target. */
async function flush(
  file: RangeFile,
  { offset, elementBytes, name }: StridedView,
  batch: Run[],
  window: Uint8Array,
  gather: Gather,
): Promise<void> {
  const [first] = batch;
  if (first === undefined) return;
  const from = first.from;
  const end = batch.reduce((far, run) => Math.max(far, endOf(run)), 0);
  const span = window.subarray(0, (end - from) * elementBytes);
  await file.read(offset + from * elementBytes, span, name);
  for (const run of batch) gather(run.from - from, run.fromStep, run.to, run.toStep, run.count);
  batch.length = 0;
}

/** All requested elements, box by box, each box in the order of the storage. */
function* runs(
  dimensions: readonly Dimension[],
  start: number,
  count: number,
  elementBytes: number,
): Generator<Run> {
  const sizes = dimensions.map((dimension) => dimension.size);
  let to = 0;
  for (const box of boxes(sizes, start, start + count)) {
    let from = 0;
    let toStep = 1;
    const walk: Walk[] = [];
    for (let d = box.length - 1; d >= 0; d--) {
      const { start: first, size } = box[d] as Box[number];
      const { stride } = dimensions[d] as Dimension;
      from += first * stride;
      if (size > 1) walk.push({ size, fromStep: stride, toStep });
      toStep *= size;
    }
    // Largest step outermost. Steps of 0 end up innermost: they repeat elements that the window already
    // holds.
    walk.sort((a, b) => b.fromStep - a.fromStep);
    yield* walkRuns(walk, from, to, elementBytes);
    to += toStep;
  }
}

/** One loop over a box, steps in elements. */
interface Walk {
  readonly size: number;
  readonly fromStep: number;
  readonly toStep: number;
}

function* walkRuns(
  walk: readonly Walk[],
  from: number,
  to: number,
  elementBytes: number,
): Generator<Run> {
  const [loop, ...inner] = walk;
  if (loop === undefined) {
    yield { from, fromStep: 0, to, toStep: 0, count: 1 };
    return;
  }
  const { size, fromStep, toStep } = loop;
  if (inner.length > 0) {
    for (let i = 0; i < size; i++) {
      yield* walkRuns(inner, from + i * fromStep, to + i * toStep, elementBytes);
    }
    return;
  }
  // The innermost loop is one run, cut so that its span fits the window and holds no large gap.
  const stepBytes = fromStep * elementBytes;
  const most =
    stepBytes > maxGapBytes ? 1 : Math.max(1, Math.floor(windowBytes / Math.max(stepBytes, 1)) - 1);
  for (let i = 0; i < size; i += most) {
    const count = Math.min(most, size - i);
    yield { from: from + i * fromStep, fromStep, to: to + i * toStep, toStep, count };
  }
}

/**
 * Cuts the flat range [begin, end) of an array of `sizes` into boxes, in order: a part of a row,
 * whole rows, a part of a row; at most two per dimension and one.
 */
function* boxes(sizes: readonly number[], begin: number, end: number): Generator<Box> {
  const [, ...inner] = sizes;
  if (begin >= end) return;
  if (inner.length === 0) {
    yield [{ start: begin, size: end - begin }];
    return;
  }
  const row = elementCount(inner) as number;
  const full = inner.map((size) => ({ start: 0, size }));
  function* within(index: number, from: number, upTo: number): Generator<Box> {
    for (const box of boxes(inner, from, upTo)) yield [{ start: index, size: 1 }, ...box];
  }
  const first = Math.floor(begin / row);
  const last = Math.floor(end / row);
  if (first === last) {
    yield* within(first, begin - first * row, end - first * row);
    return;
  }
  const firstWhole = Math.ceil(begin / row);
  if (firstWhole > first) yield* within(first, begin - first * row, row);
  if (last > firstWhole) yield [{ start: firstWhole, size: last - firstWhole }, ...full];
  yield* within(last, 0, end - last * row);
}
