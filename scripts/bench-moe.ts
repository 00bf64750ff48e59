/**
 * A mixture of experts in control groups of several sizes, each of which is the whole budget: a prompt and
 * the tokens behind it, in a process of its own. With --gguf, llama.cpp by mmap on that file in the same
 * groups. Needs root on Linux, and `npm run build`.
 *
 *   node --import tsx scripts/bench-moe.ts <model> [--sizes 3GiB,4GiB,6GiB,8GiB] [--text <file>]
 *       [--prompt <positions>] [--tokens <n>] [--threads <n>] [--rounds <n>]
 *       [--gguf <file> [--peer-tokens <n>] [--peer-seconds <s>] [--peer-chunk <positions>]] [--json]
 *
 * Of the tokens behind the prompt: wanted experts that were in DRAM; MB read for each, and of these what
 * the experts that were not there have; GB/s while at least one read was in flight, and while decoding waited.
 */

import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import type { RowRequest, RowRun } from '../src/bench/measure.ts';
import { Model } from '../src/engine/model.ts';
import { expertUnits } from '../src/plan/expert-slots.ts';
import { parseSize, resolveSize } from '../src/units.ts';
import { openMemoryGroup } from '../test/support/cgroup.ts';
import { installMappedPeer, runMappedPeer } from './mapped-peer.ts';
import { median } from './median.ts';
import { text } from './text-option.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    sizes: text('3GiB,4GiB,6GiB,8GiB'),
    text: text(fileURLToPath(new URL('../fixtures/text/valid.txt', import.meta.url))),
    prompt: text('512'),
    tokens: text('64'),
    threads: text('2'),
    rounds: text('1'),
    gguf: text(''),
    'peer-tokens': text('16'),
    'peer-seconds': text('120'),
    'peer-chunk': text('128'),
    json: { type: 'boolean', default: false },
  },
});
const [dir] = positionals;
if (dir === undefined) {
  process.stderr.write('usage: bench-moe.ts <model> [--sizes 3GiB,4GiB] [--gguf <file>] ...\n');
  process.exit(2);
}
const launcher = fileURLToPath(new URL('../bin/flashllm.cjs', import.meta.url));
const [threads, maxTokens] = [Number(values.threads), Number(values.tokens)];

const model = await Model.open(dir);
const { manifest, weightBytes, tokenizer } = model;
const promptIds = tokenizer
  .encodePrompt(readFileSync(values.text, 'utf8'))
  .slice(0, Number(values.prompt));
const prompt = tokenizer.decode(promptIds);
model.close();
const { experts } = manifest.spec.ffn;
if (experts === undefined) throw new Error(`${dir} is not a mixture of experts`);
/** Of the experts that a token takes, in all layers. */
const wantedBytes = expertUnits(manifest).reduce(
  (sum, units) => sum + experts.topK * (units?.unitBytes ?? 0),
  0,
);

/** What one run came to; null where it was killed. */
interface Row {
  readonly size: string;
  readonly program: string;
  readonly promptTokens: number;
  readonly promptSeconds: number;
  readonly tokensPerSecond: number;
  readonly hitRate: number | null;
  readonly megabytesPerToken: number;
  readonly necessaryMegabytes: number | null;
  readonly gigabytesPerSecond: number | null;
  readonly awaitedGigabytesPerSecond: number | null;
  readonly peakGiB: number | null;
}

/** Runs `work` in a group of so many bytes; null where something in it was killed. */
function limited<T>(bytes: number, work: (under: readonly string[]) => T): T | null {
  const group = openMemoryGroup(bytes);
  if (group === null) throw new Error('a control group with a memory limit cannot be made here');
  try {
    const result = work(group.under);
    return group.kills() > 0 ? null : result;
  } finally {
    group.remove();
  }
}

function ours(size: string): Row | null {
  const budget = resolveSize(parseSize(size, '--sizes'), weightBytes);
  const request: RowRequest = {
    ...{ model: dir ?? '', row: 'flashllm', budget, promptIds, threads, unbundled: null },
    ...{ window: 4, maxTokens: maxTokens + 1, maxMs: 3_600_000, kvDtype: 'f32' },
    sampling: { temperature: 0, topK: 0, topP: 1, minP: 0, repetitionPenalty: 1, seed: 1 },
  };
  const run = limited(budget, (under) => {
    const [command = '', ...args] = [
      ...[...under, process.execPath, launcher, 'bench', request.model],
      ...['--row-request', JSON.stringify(request)],
    ];
    const { status, stdout, stderr } = spawnSync(command, args);
    if (status === 0) return JSON.parse(stdout.toString()) as RowRun;
    process.stderr.write(stderr);
    return null;
  });
  if (run === null) return null;
  const hitRate = run.expertHitRate ?? 1;
  return {
    ...{ size, program: 'flashllm', promptTokens: promptIds.length },
    promptSeconds: run.prefillMs / 1000,
    tokensPerSecond: 1000 / run.totalMs,
    hitRate,
    megabytesPerToken: run.flashBytesPerToken / 1e6,
    necessaryMegabytes: ((1 - hitRate) * wantedBytes) / 1e6,
    gigabytesPerSecond: run.flashThroughput / 1e9,
    awaitedGigabytesPerSecond: (run.awaitedThroughput ?? Number.NaN) / 1e9,
    peakGiB: run.peakRss / 2 ** 30,
  };
}

function theirs(size: string): Row | null {
  const bytes = resolveSize(parseSize(size, '--sizes'), weightBytes);
  const request = {
    ...{ gguf: values.gguf, threads, prompt, tokens: Number(values['peer-tokens']) },
    ...{ seconds: Number(values['peer-seconds']), chunk: Number(values['peer-chunk']) },
  };
  const run = limited(bytes, (under) => runMappedPeer({ ...request, under }));
  return (
    run && {
      ...{ size, program: 'llama.cpp, mmap', promptTokens: run.promptTokens },
      promptSeconds: run.promptMs / 1000,
      tokensPerSecond: run.tokensPerSecond,
      megabytesPerToken: run.bytesPerToken / 1e6,
      ...{ hitRate: null, necessaryMegabytes: null, gigabytesPerSecond: null },
      ...{ awaitedGigabytesPerSecond: null, peakGiB: null },
    }
  );
}

if (values.gguf !== '') installMappedPeer();
const contenders = values.gguf === '' ? [ours] : [ours, theirs];
const cells = values.sizes
  .split(',')
  .flatMap((size) => contenders.map((run) => ({ size, run, rows: [] as (Row | null)[] })));
for (let round = 0; round < Number(values.rounds); round++) {
  for (const { size, run, rows } of cells) {
    const row = run(size);
    rows.push(row);
    process.stderr.write(`${JSON.stringify(row ?? { size, killed: run.name })}\n`);
  }
}
if (values.json) process.stdout.write(`${JSON.stringify(cells.map(({ rows }) => rows))}\n`);
else report();

function report(): void {
  const lines = cells.map(({ size, run, rows }) => {
    const made = rows.filter((row) => row !== null);
    if (made.length < rows.length)
      return `| ${size} | ${run === ours ? 'flashllm' : 'llama.cpp, mmap'} | killed |`;
    const of = (pick: (row: Row) => number | null, digits: number) => {
      const found = median(made.map((row) => pick(row) ?? Number.NaN));
      return Number.isNaN(found) ? '' : found.toFixed(digits);
    };
    const cellsOfRow = [
      of((row) => row.promptTokens, 0),
      of((row) => row.promptSeconds, 1),
      of((row) => row.tokensPerSecond, 2),
      of((row) => row.hitRate && 100 * row.hitRate, 1),
      of((row) => row.megabytesPerToken, 0),
      of((row) => row.necessaryMegabytes, 0),
      of((row) => row.gigabytesPerSecond, 2),
      of((row) => row.awaitedGigabytesPerSecond, 2),
      of((row) => row.peakGiB, 2),
    ];
    return `| ${[size, made[0]?.program, ...cellsOfRow].join(' | ')} |`;
  });
  const head =
    '| group | | prompt, tokens | prompt, s | tokens/s | found in DRAM, % | MB per token | necessary MB | GB/s while reading | while waiting | peak, GiB |';
  process.stdout.write(
    `${dir}, ${maxTokens} tokens generated, ${threads} threads, ${values.rounds} rounds\n\n` +
      `${head}\n|${'---|'.repeat(11)}\n${lines.join('\n')}\n`,
  );
}
