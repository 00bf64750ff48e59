/**
 * Compares flashllm with the obvious alternative, in one run: this project's naive row and its default
 * under a memory limit that the kernel enforces, llama.cpp (node-llama-cpp) by mmap under the same
 * limit, and llama.cpp with everything in memory, on a model of Llama geometry of as many bytes.
 * Needs root on Linux, for the control group.
 *
 *   node --import tsx scripts/bench-paper.ts <model> <file.gguf> [--budget 50%] [--label <text>]
 *       [--tokens <n>] [--prompt-tokens <n>] [--seconds <s>] [--rounds <n>] [--threads <n>]
 *       [--second <model>]
 *
 * `--second` is the same model stored differently, for example with q8 weights and a 16-bit FFN; it gets
 * the budget of the first.
 * A GGUF file that is not there is written with random weights, for models of 1.3B and 6.7B geometry.
 */

import { execFileSync } from 'node:child_process';
import { existsSync, statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import type { RowRequest, RowRun } from '../src/bench/measure.ts';
import { defaultPrompt, promptOf } from '../src/bench/prompt.ts';
import type { RowName } from '../src/bench/rows.ts';
import { describeDTypes } from '../src/convert/dtypes.ts';
import { Model } from '../src/engine/model.ts';
import { readManifest } from '../src/flash/manifest-reader.ts';
import { formatBytes, parseSize, resolveSize } from '../src/units.ts';
import { openMemoryGroup } from '../test/support/cgroup.ts';
import { installPeer, runPeer } from './llama-peer.ts';
import { median } from './median.ts';
import { text } from './text-option.ts';

/** Llama geometries as large as OPT's of the same width: layers, heads, FFN, vocabulary. */
const llamaOf: Readonly<Record<number, readonly number[]>> = {
  2048: [24, 32, 5632, 32000],
  4096: [32, 32, 11008, 32000],
};

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    budget: text('50%'),
    label: text(''),
    second: text(''),
    tokens: text('64'),
    'prompt-tokens': text('32'),
    seconds: text('60'),
    rounds: text('1'),
    threads: text('2'),
  },
});
const [dir = '', gguf = ''] = positionals;
if (gguf === '') {
  process.stderr.write('usage: bench-paper.ts <model> <file.gguf> [--budget <size>] ...\n');
  process.exit(2);
}
const threads = Number(values.threads);
const tokens = Number(values.tokens);
const seconds = Number(values.seconds);
const { second } = values;
const launcher = fileURLToPath(new URL('../bin/flashllm.cjs', import.meta.url));

const model = await Model.open(dir);
const { manifest, weightBytes } = model;
const budget = resolveSize(parseSize(values.budget, '--budget'), weightBytes);
const promptIds = promptOf(
  (part) => model.tokenizer.encodePrompt(part),
  defaultPrompt,
  Number(values['prompt-tokens']),
);
model.close();
makeGguf();
installPeer();

interface Figures {
  readonly tokensPerSecond: number;
  readonly bytesPerToken: number | null;
  readonly peakRss: number;
}

const contenders: readonly { readonly name: string; readonly run: () => Figures }[] = [
  { name: 'flashllm, naive', run: () => ours(dir, 'naive') },
  { name: 'flashllm', run: () => ours(dir, 'flashllm') },
  ...(second === ''
    ? []
    : [{ name: `flashllm, ${await dtypesOf(second)}`, run: () => ours(second, 'flashllm') }]),
  { name: 'llama.cpp, mmap', run: () => limited((under) => theirs(true, under)) },
  { name: 'llama.cpp, all in memory, no limit', run: () => theirs(false, []) },
];

const measured = contenders.map(({ name }) => ({ name, runs: [] as Figures[] }));
for (let round = 0; round < Number(values.rounds); round++) {
  for (const [index, { name, run }] of contenders.entries()) {
    const figures = run();
    measured[index]?.runs.push(figures);
    process.stderr.write(`${name}: ${figures.tokensPerSecond.toFixed(3)} tokens/s\n`);
  }
}
report();

/** Writes the peer's model if there is none. */
function makeGguf(): void {
  if (existsSync(gguf)) return;
  const { hiddenSize } = manifest.spec;
  const geometry = llamaOf[hiddenSize];
  if (geometry === undefined)
    throw new Error(`${gguf} does not exist, and there is no geometry to write it with`);
  const script = fileURLToPath(new URL('make-gguf.ts', import.meta.url));
  const numbers = [hiddenSize, ...geometry].map(String);
  execFileSync(process.execPath, ['--import', 'tsx', script, gguf, ...numbers]);
}

/** Runs `work` in a group of the budget's size. */
function limited<T>(work: (under: readonly string[]) => T): T {
  const group = openMemoryGroup(budget);
  if (group === null)
    throw new Error('no control group with a memory limit: this needs root on Linux');
  try {
    return work(group.under);
  } finally {
    group.remove();
  }
}

async function dtypesOf(modelDir: string): Promise<string> {
  return describeDTypes((await readManifest(modelDir)).dtypes);
}

function ours(modelDir: string, row: RowName): Figures {
  const request: RowRequest = {
    ...{ model: modelDir, row, budget, promptIds, threads, unbundled: null, window: 4 },
    ...{ maxTokens: tokens, maxMs: seconds * 1000, kvDtype: 'f32' },
    sampling: {
      ...{ temperature: 0.8, topK: 40, topP: 0.95, minP: 0, repetitionPenalty: 1, seed: 1 },
    },
  };
  const run = limited((under) => {
    const [command = '', ...args] = [
      ...[...under, process.execPath, launcher, 'bench', modelDir],
      ...['--row-request', JSON.stringify(request)],
    ];
    return JSON.parse(execFileSync(command, args).toString()) as RowRun;
  });
  return {
    tokensPerSecond: 1000 / run.totalMs,
    bytesPerToken: run.flashBytesPerToken,
    peakRss: run.peakRss,
  };
}

function theirs(mmap: boolean, under: readonly string[]): Figures {
  // Cached pages of the file are charged to another group, so this one could use them for free.
  execFileSync('dd', [`if=${gguf}`, 'iflag=nocache', 'count=0'], { stdio: 'ignore' });
  return runPeer({ gguf, threads, tokens, seconds, mmap, under });
}

function report(): void {
  const rate = (runs: readonly Figures[]) => median(runs.map((run) => run.tokensPerSecond));
  const own = rate(measured.find(({ name }) => name === 'flashllm')?.runs ?? []);
  const label = values.label === '' ? '' : ` (${values.label})`;
  const lines = [
    `${dir}${label}: ${formatBytes(weightBytes)}, peer's file ${formatBytes(statSync(gguf).size)}; ` +
      `limit ${formatBytes(budget)}, ${threads} threads, ${values.rounds} rounds`,
    '',
    '| | tokens/s | read per token | peak RSS | flashllm is faster by |',
    '|---|---|---|---|---|',
    ...measured.map(({ name, runs }) => {
      const bytes = runs.map(({ bytesPerToken }) => bytesPerToken ?? Number.NaN);
      const peak = Math.max(...runs.map(({ peakRss }) => peakRss));
      const read = Number.isNaN(median(bytes)) ? 'unknown' : formatBytes(median(bytes));
      const ratio = (own / rate(runs)).toFixed(2);
      const rates = runs.map(({ tokensPerSecond }) => tokensPerSecond);
      const spread = `${Math.min(...rates).toFixed(3)}-${Math.max(...rates).toFixed(3)}`;
      return `| ${name} | ${rate(runs).toFixed(3)} (${spread}) | ${read} | ${formatBytes(peak)} | ${ratio} |`;
    }),
  ];
  process.stdout.write(`${lines.join('\n')}\n`);
}
