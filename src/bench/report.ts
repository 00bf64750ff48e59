/** Summarises repeated runs of rows. */

import type { RowRun } from './measure.ts';
import { paperRows } from './paper.ts';
import { needsPredictors, type RowName, rowSpec } from './rows.ts';

/** Median over the repetitions, the lowest and the highest. */
export interface Spread {
  readonly median: number;
  readonly low: number;
  readonly high: number;
}

/** One row in bytes, milliseconds and bytes per second, per token where applicable. */
export interface RowReport {
  readonly row: RowName;
  readonly title: string;
  readonly what: string;
  readonly dramBytes: number;
  readonly flashBytesPerToken: Spread;
  readonly flashThroughput: Spread;
  readonly ioMs: Spread;
  readonly memoryMs: Spread;
  readonly computeMs: Spread;
  readonly totalMs: Spread;
  readonly tokensPerSecond: number;
  /** Speed relative to the naive row, if that was measured. */
  readonly speedup: number | null;
  readonly peakRss: number;
  readonly prefillMs: Spread;
  readonly readsPerToken: number;
  readonly largeReads: number;
  readonly decodedTokens: number;
  readonly directIo: boolean;
  /**
   * Whether the system kernel counted the same bytes as the engine, so that none came from the page cache.
   * Null where the kernel does not report them.
   */
  readonly cacheBypassed: boolean | null;
  readonly runs: readonly RowRun[];
}

/** Tolerance: read-ahead begun before decoding, or not used after it, is a small part of all reads. */
const tolerance = 0.02;

export function reportRows(runs: readonly RowRun[]): RowReport[] {
  const names = [...new Set(runs.map(({ row }) => row))];
  const naive = spreadOf(
    runs.filter(({ row }) => row === 'naive'),
    'totalMs',
  );
  return names.map((name) => {
    const own = runs.filter(({ row }) => row === name);
    const [first] = own;
    if (first === undefined) throw new Error(`row ${name} was not measured`);
    const { title, what } = rowSpec(name);
    const totalMs = spreadOf(own, 'totalMs');
    const median = (key: NumericKey) => spreadOf(own, key).median;
    return {
      row: name,
      title,
      what,
      dramBytes: first.dramBytes,
      flashBytesPerToken: spreadOf(own, 'flashBytesPerToken'),
      flashThroughput: spreadOf(own, 'flashThroughput'),
      ioMs: spreadOf(own, 'ioMs'),
      memoryMs: spreadOf(own, 'memoryMs'),
      computeMs: spreadOf(own, 'computeMs'),
      totalMs,
      tokensPerSecond: totalMs.median === 0 ? 0 : 1000 / totalMs.median,
      speedup: naive.median > 0 && totalMs.median > 0 ? naive.median / totalMs.median : null,
      peakRss: Math.max(...own.map(({ peakRss }) => peakRss)),
      prefillMs: spreadOf(own, 'prefillMs'),
      readsPerToken: median('readsPerToken'),
      largeReads: median('largeReads'),
      decodedTokens: Math.min(...own.map(({ decodedTokens }) => decodedTokens)),
      directIo: own.every(({ directIo }) => directIo),
      cacheBypassed: wasBypassed(own),
      runs: own,
    };
  });
}

type NumericKey = {
  [K in keyof RowRun]-?: RowRun[K] extends number ? K : never;
}[keyof RowRun];

function spreadOf(runs: readonly RowRun[], key: NumericKey): Spread {
  const values = runs.map((run) => run[key] as number).sort((a, b) => a - b);
  const middle = values.length / 2;
  const median = ((values[Math.ceil(middle) - 1] ?? 0) + (values[Math.floor(middle)] ?? 0)) / 2;
  return { median, low: values[0] ?? 0, high: values.at(-1) ?? 0 };
}

function wasBypassed(runs: readonly RowRun[]): boolean | null {
  if (!runs.every(({ directIo }) => directIo)) return false;
  let known = true;
  for (const { flashBytesPerToken, deviceBytesPerToken } of runs) {
    if (deviceBytesPerToken === null) known = false;
    else if (deviceBytesPerToken < flashBytesPerToken * (1 - tolerance)) return false;
  }
  return known ? true : null;
}

/** Whether rows of one kind made the same tokens, as far as each got; null where there is only one run. */
export function sameTokens(runs: readonly RowRun[], predicted: boolean): boolean | null {
  const own = runs.filter(({ row }) => needsPredictors(rowSpec(row)) === predicted);
  if (own.length < 2) return null;
  const longest = own.reduce((a, b) => (b.tokens.length > a.tokens.length ? b : a));
  return own.every(({ tokens }) => tokens.every((token, i) => token === longest.tokens[i]));
}

/** The paper's figures for the rows that were measured. */
export function paperFor(rows: readonly RowReport[]) {
  return rows.flatMap(({ row }) => {
    const figures = paperRows[row];
    return figures === undefined ? [] : [{ row, ...figures }];
  });
}
