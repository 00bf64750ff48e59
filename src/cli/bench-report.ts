/** The output of `bench`: its JSON, its table, and the text around its charts. */

import { cpus } from 'node:os';
import { type ChartTable, type ChartTexts, withSpread } from '../bench/chart.ts';
import type { RowRequest, RowRun } from '../bench/measure.ts';
import { type PaperRow, paperModel, paperRows } from '../bench/paper.ts';
import { paperFor, type RowReport, reportRows, sameTokens } from '../bench/report.ts';
import type { Model } from '../engine/model.ts';
import { formatBytes } from '../units.ts';
import { table } from './table.ts';

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
    /** Whether rows that compute the same neurons generated the same tokens. */
    sameTokens: { exact: sameTokens(runs, false), predicted: sameTokens(runs, true) },
    paper: { model: paperModel, rows: paperFor(rows) },
  };
}

const benchHead = [
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

/** Decimal units, as in the paper. */
const gigabytes = (bytes: number) => `${Number((bytes / 1e9).toPrecision(3))}`;

function benchCells(row: RowReport): string[] {
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

/** What was measured, and the paper's figures for the same rows. */
export function benchTables(facts: BenchFacts): readonly [ChartTable, ChartTable] {
  const { rows } = benchJson(facts);
  return [
    { caption: 'Per token, on this machine', head: benchHead, cells: rows.map(benchCells) },
    {
      caption: `The paper's figures: ${paperModel}, half of it in DRAM, on the paper's machine`,
      head: benchHead,
      cells: rows.flatMap(({ row, title }) => {
        const figures = paperRows[row];
        return figures === undefined ? [] : [paperCells(title, figures)];
      }),
    },
  ];
}

function paperCells(title: string, figures: PaperRow): string[] {
  const { dramGb, gbPerToken, throughputGb, ioMs, memoryMs, computeMs, totalMs } = figures;
  const naiveMs = paperRows.naive?.totalMs ?? null;
  return [
    title,
    ...[dramGb, gbPerToken, throughputGb, ioMs, memoryMs, computeMs, totalMs].map((value) =>
      value === null ? '' : `${value}`,
    ),
    totalMs === null || naiveMs === null ? '' : (naiveMs / totalMs).toFixed(1),
  ];
}

/** All figures as text, with the conditions they were measured under. */
export function benchTable(facts: BenchFacts): string {
  const { title, notes } = benchTexts(facts);
  const tables = benchTables(facts).map(
    ({ caption, head, cells }) => `${caption}:\n\n${table(head, cells)}`,
  );
  const lines = [`${title}\n`, ...tables, ...notes, ...verdicts(benchJson(facts))];
  return `${lines.join('\n')}\n`;
}

/** Conclusions about the runs: peak memory, page cache, and whether tokens agree. */
function verdicts({ rows, sameTokens: same }: ReturnType<typeof benchJson>): string[] {
  const peak = Math.max(...rows.map(({ peakRss }) => peakRss));
  const bypassed = rows.map(({ cacheBypassed }) => cacheBypassed);
  const cache = bypassed.includes(false)
    ? 'Reads went through the page cache: the times are not those of the device.'
    : bypassed.includes(null)
      ? 'Reads used direct I/O; this system does not report whether the device was read.'
      : "Page cache bypassed: by the kernel's count, every byte came from the device.";
  const shortest = Math.min(...rows.map(({ decodedTokens }) => decodedTokens));
  return [
    `Peak memory ${formatBytes(peak)}. ${cache}`,
    ...(same.exact === false
      ? ['FAULT: rows that compute every neuron generated different tokens.']
      : []),
    ...(same.predicted === false
      ? ['FAULT: rows that compute predicted neurons generated different tokens.']
      : []),
    `Means over at least ${shortest} generated tokens.`,
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
