/**
 * Tokens per second by budget, from the floor up to everything in memory: predictors as `generate` uses
 * them and `--exact`, alternating, each run in a process of its own. Prints a table in Markdown, and draws
 * it. Exits with 1 if predictors are slower than `--exact` beyond noise.
 *
 *   node --import tsx scripts/bench-budgets.ts <model> [--steps 10] [--budgets <size,...>]
 *       [--repeat 2] [--tokens 48] [--prompt-tokens 16] [--seconds 6] [--label <text>] [--svg <file>]
 *       [--json <file>]
 *
 * Needs `npm run build`: it measures the program as users install it.
 */

import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { type BudgetPoint, budgetSvg } from '../src/bench/budget-chart.ts';
import type { RowRequest, RowRun } from '../src/bench/measure.ts';
import { defaultPrompt, promptOf } from '../src/bench/prompt.ts';
import { Model } from '../src/engine/model.ts';
import { bestLogits, usualSampling } from '../src/engine/sampler.ts';
import { formatBytes, MIB, parseSize, resolveSize } from '../src/units.ts';
import { text } from './text-option.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    steps: text('10'),
    budgets: text(''),
    repeat: text('2'),
    tokens: text('48'),
    'prompt-tokens': text('16'),
    seconds: text('6'),
    label: text(''),
    svg: text(''),
    json: text(''),
  },
});
const [dir] = positionals;
if (dir === undefined) {
  process.stderr.write('usage: bench-budgets.ts <model> [--steps 10] [--svg <file>] ...\n');
  process.exit(2);
}
const launcher = fileURLToPath(new URL('../bin/flashllm.cjs', import.meta.url));
/** Runs of the same command differ by this much on a machine with other work. */
const noise = 0.05;
/** How far above the floor the least budget is, since the process may take a little more the next time. */
const marginBytes = 4 * MIB;

const ways = [
  { name: 'with predictors', ffn: 'auto' },
  { name: '--exact', ffn: 'exact' },
] as const;

const model = await Model.open(dir);
if (model.predictors === null) throw new Error(`${dir} has no predictors; run predict-train`);
const { weightBytes } = model;
const promptIds = promptOf(
  (part) => model.tokenizer.encodePrompt(part),
  defaultPrompt,
  Number(values['prompt-tokens']),
);
const sampling = { ...usualSampling, temperature: 0, seed: 1 };
const planned = {
  context: promptIds.length + Number(values.tokens) - 1,
  ...bestLogits(sampling),
};
const floor = model.floor({ ...planned, threads: 2 }).bytes + marginBytes;
const everything = smallestWhole();
model.close();

/** The least budget, by steps of 8 MiB, at which all weights and predictors stay in DRAM. */
function smallestWhole(): number {
  let budget = floor;
  while (!model.plan({ ...planned, budget }).fitsWhole) budget += 8 * MIB;
  return budget;
}

function measure(ffn: RowRequest['ffn'], budget: number): RowRun {
  const request: RowRequest = {
    ...{ model: dir ?? '', row: 'flashllm', budget, promptIds, sampling, ...(ffn && { ffn }) },
    maxTokens: Number(values.tokens),
    maxMs: 1000 * Number(values.seconds),
    ...{ window: 4, kvDtype: 'f32', threads: null, unbundled: null },
  };
  const args = [launcher, 'bench', request.model, '--row-request', JSON.stringify(request)];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, {
    encoding: 'utf8',
    maxBuffer: 64 * MIB,
  });
  if (status !== 0) throw new Error(`${formatBytes(budget)}: ${stderr.trim()}`);
  return JSON.parse(stdout) as RowRun;
}

const steps = Math.max(2, Number(values.steps));
const budgets =
  values.budgets === ''
    ? Array.from({ length: steps }, (_, i) =>
        Math.round(floor + ((everything - floor) * i) / (steps - 1)),
      )
    : values.budgets
        .split(',')
        .map((size) => resolveSize(parseSize(size, '--budgets'), weightBytes));
const rate = ({ totalMs }: RowRun) => 1000 / totalMs;
const median = (numbers: readonly number[]) => {
  const sorted = [...numbers].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  return ((sorted[Math.ceil(middle) - 1] ?? 0) + (sorted[Math.floor(middle)] ?? 0)) / 2;
};

const say = (line: string) => process.stdout.write(`${line}\n`);
say(
  '| budget | of the weights | predictors used | with predictors, tokens/s | `--exact` | ratio (pairs) | reads/token | `--exact` | MB/token | `--exact` | peak MiB |',
);
say('|---|---|---|---|---|---|---|---|---|---|---|');
const lines = ways.map(({ name }) => ({ name, points: [] as BudgetPoint[] }));
const all: { budget: number; runs: RowRun[][] }[] = [];
let slower = 0;
for (const budget of budgets) {
  const runs: RowRun[][] = ways.map(() => []);
  for (let round = 0; round < Number(values.repeat); round++) {
    for (const [i, { ffn }] of ways.entries()) runs[i]?.push(measure(ffn, budget));
  }
  const [sparse = [], exact = []] = runs;
  const pairs = sparse.map((run, i) => rate(run) / rate(exact[i] ?? run));
  if (median(pairs) < 1 - noise) slower++;
  for (const [i, own] of runs.entries()) {
    const rates = own.map(rate);
    const [low, high] = [Math.min(...rates), Math.max(...rates)];
    lines[i]?.points.push({ budgetBytes: budget, median: median(rates), low, high });
  }
  all.push({ budget, runs });
  const of = (own: readonly RowRun[], key: 'readsPerToken' | 'flashBytesPerToken', unit = 1) =>
    (median(own.map((run) => run[key])) / unit).toFixed(0);
  const cells = [
    formatBytes(budget),
    `${Math.round((100 * budget) / weightBytes)}%`,
    sparse.every((run) => run.sparse) ? 'yes' : 'no',
    median(sparse.map(rate)).toFixed(2),
    median(exact.map(rate)).toFixed(2),
    `${median(pairs).toFixed(2)} (${pairs.map((pair) => pair.toFixed(2)).join(', ')})`,
    ...[of(sparse, 'readsPerToken'), of(exact, 'readsPerToken')],
    ...[of(sparse, 'flashBytesPerToken', 1e6), of(exact, 'flashBytesPerToken', 1e6)],
    `${(Math.max(...[...sparse, ...exact].map(({ peakRss }) => peakRss)) / MIB).toFixed(0)}`,
  ];
  say(`| ${cells.join(' | ')} |`);
}
const label = values.label === '' ? '' : ` (${values.label})`;
const texts = {
  title: `Tokens per second by memory${label}`,
  notes: [
    `Weights ${formatBytes(weightBytes)}; ${values.tokens} tokens after a prompt of ${promptIds.length}; ` +
      `Node ${process.version}; bars: lowest to highest of ${values.repeat}.`,
  ],
};
if (values.svg !== '') writeFileSync(values.svg, budgetSvg(lines, texts));
if (values.json !== '') writeFileSync(values.json, `${JSON.stringify(all)}\n`);
say(
  slower === 0
    ? '\nAt no budget are predictors slower than --exact.'
    : `\nFAULT: at ${slower} budgets predictors are slower than --exact.`,
);
if (slower > 0) process.exitCode = 1;
