/** What `bench` says: its JSON, its table, and the words around its charts. */

import { cpus } from 'node:os';
import { type ChartTexts, withSpread } from '../bench/chart.ts';
import type { RowRequest, RowRun } from '../bench/measure.ts';
import { paperModel, paperRows } from '../bench/paper.ts';
import { paperFor, type RowReport, reportRows, sameTokens } from '../bench/report.ts';
import type { Model } from '../engine/model.ts';
import { formatBytes } from '../units.ts';
import { table } from './terminal.ts';

export interface BenchFacts {
  readonly model: Model;
  readonly dir: string;
  readonly flags: { readonly label?: string; readonly repeat: number };
  readonly request: Omit<RowRequest, 'row' | 'unbundled'>;
  readonly runs: readonly RowRun[];
}

/** The object of `--json`. */
export function benchJson({ model, dir, flags, request, runs }: BenchFacts) {
  const rows = reportRows(runs);
  const { spec, dtypes } = model.manifest;
  return {
    model: dir,
    label: flags.label ?? null,
    architecture: {
      family: spec.family,
      layers: spec.layers,
      hiddenSize: spec.hiddenSize,
      dtypes,
    },
    weightBytes: model.weightBytes,
    dramBudget: request.budget,
    promptTokens: request.promptIds.length,
    maxTokens: request.maxTokens,
    repetitions: flags.repeat,
    window: request.window,
    threads: runs[0]?.threads ?? 0,
    cpu: cpus()[0]?.model ?? 'unknown',
    node: process.version,
    rows,
    /** Whether rows that compute the same made the same tokens. */
    sameTokens: { exact: sameTokens(runs, false), predicted: sameTokens(runs, true) },
    paper: { model: paperModel, rows: paperFor(rows) },
  };
}

export const benchHead = [
  'row',
  'DRAM GB',
  'GB/token',
  'GB/s',
  'I/O ms',
  'memory ms',
  'compute ms',
  'total ms',
  'x naive',
] as const;

/** Decimal units, as the paper has them. */
const gigabytes = (bytes: number) => `${Number((bytes / 1e9).toPrecision(3))}`;

export function benchCells(row: RowReport): string[] {
  return [
    row.title,
    gigabytes(row.dramBytes),
    gigabytes(row.flashBytesPerToken.median),
    gigabytes(row.flashThroughput.median),
    withSpread(row.ioMs),
    withSpread(row.memoryMs),
    withSpread(row.computeMs),
    withSpread(row.totalMs),
    row.speedup === null ? '' : row.speedup.toFixed(1),
  ];
}

/** The table with the paper's figures below, and what must be known to read it. */
export function benchTable(facts: BenchFacts): string {
  const report = benchJson(facts);
  const { title, notes } = benchTexts(facts);
  const paper = report.rows.flatMap(({ row, title: name }) => {
    const figures = paperRows[row];
    if (figures === undefined) return [];
    const { dramGb, gbPerToken, throughputGb, ioMs, memoryMs, computeMs, totalMs } = figures;
    const naive = paperRows.naive?.totalMs ?? null;
    const speedup = totalMs === null || naive === null ? '' : (naive / totalMs).toFixed(1);
    return [
      [
        name,
        ...[dramGb, gbPerToken, throughputGb, ioMs, memoryMs, computeMs, totalMs].map((value) =>
          value === null ? '' : `${value}`,
        ),
        speedup,
      ],
    ];
  });
  const lines = [
    `${title}\n`,
    table(benchHead, report.rows.map(benchCells)),
    `The paper's (${report.paper.model}, half of it in DRAM, another machine):\n`,
    table(benchHead, paper),
    ...notes,
    ...verdicts(report),
  ];
  return `${lines.join('\n')}\n`;
}

/** What holds of the runs, or does not. */
function verdicts({ rows, sameTokens: same }: ReturnType<typeof benchJson>): string[] {
  const peak = Math.max(...rows.map(({ peakRss }) => peakRss));
  const bypassed = rows.map(({ cacheBypassed }) => cacheBypassed);
  const cache = bypassed.includes(false)
    ? 'The page cache took part: these are not the times of the device.'
    : bypassed.includes(null)
      ? 'Reads were direct; the system does not tell whether the device was read.'
      : 'Page cache bypassed: the device was read for every byte, as the kernel counts.';
  const shortest = Math.min(...rows.map(({ decodedTokens }) => decodedTokens));
  return [
    `Peak memory ${formatBytes(peak)}. ${cache}`,
    ...(same.exact === false ? ['FAULT: rows that compute every neuron made other tokens.'] : []),
    ...(same.predicted === false
      ? ['FAULT: rows that compute predicted neurons made other tokens.']
      : []),
    `Means over ${shortest} tokens or more, after the prompt.`,
  ];
}

export function benchTexts(facts: BenchFacts): ChartTexts {
  const { model, flags, request, runs } = facts;
  const { family, layers, hiddenSize } = model.manifest.spec;
  const { resident, bundles } = model.manifest.dtypes;
  const dtypes = resident === bundles ? resident : `${resident}, FFN ${bundles}`;
  const label = flags.label === undefined ? '' : ` (${flags.label})`;
  const { budget, promptIds } = request;
  const share = Math.round((100 * budget) / model.weightBytes);
  return {
    title: `Time per token: ${family}${label}, ${layers} layers of ${hiddenSize}, ${dtypes}`,
    notes: [
      `Weights ${formatBytes(model.weightBytes)}, budget ${formatBytes(budget)} (${share}%) for the whole process; ` +
        `prompt of ${promptIds.length} tokens.`,
      `${runs[0]?.threads ?? 0} threads, ${cpus()[0]?.model ?? 'unknown CPU'}, Node ${process.version}; ` +
        `median of ${flags.repeat} (lowest-highest).`,
    ],
  };
}
