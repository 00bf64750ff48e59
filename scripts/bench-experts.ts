/**
 * A mixture of experts under several budgets and policies: the cost of a prompt and of the tokens after it,
 * and how often experts were in DRAM. Tokens are taken from a text, so that every run routes alike. Runs
 * alternate; with --rounds above 1 the script prints medians.
 *
 *   UV_THREADPOOL_SIZE=8 node --import tsx scripts/bench-experts.ts <model> --text <file>
 *       [--budgets 2GiB,4GiB] [--windows auto,lru] [--prompt <positions>] [--tokens <n>] [--rounds <n>] [--json]
 */

import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { Model } from '../src/engine/model.ts';
import { Runtime } from '../src/engine/runtime.ts';
import type { RunStats } from '../src/engine/stats.ts';
import { loadProfile } from '../src/flash/device-profile.ts';
import type { PolicyName } from '../src/residency/store-policy.ts';
import { formatBytes, parseSize } from '../src/units.ts';
import { median } from './median.ts';
import { text } from './text-option.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    text: text(''),
    budgets: text('2GiB'),
    windows: text('auto'),
    prompt: text('64'),
    tokens: text('64'),
    threads: text(''),
    rounds: text('1'),
    json: { type: 'boolean', default: false },
  },
});
const [dir] = positionals;
if (dir === undefined || values.text === '') {
  process.stderr.write('usage: bench-experts.ts <model> --text <file> [--budgets <sizes>] ...\n');
  process.exit(2);
}
const [promptLength, tokens] = [Number(values.prompt), Number(values.tokens)];
const model = await Model.open(dir, { profile: await loadProfile(dir) });
const ids = model.tokenizer.encodePrompt(readFileSync(values.text, 'utf8'));
if (ids.length < promptLength + tokens) throw new Error(`the text has only ${ids.length} tokens`);

interface Figures {
  readonly promptMs: number;
  readonly promptBytes: number;
  readonly tokensPerSecond: number;
  /** Of the tokens after the prompt. */
  readonly hitRate: number;
  readonly bytesPerToken: number;
  readonly ioShare: number;
  readonly processorMsPerToken: number;
  readonly peakRss: number;
}

async function measure(budget: number, window: PolicyName): Promise<Figures> {
  const threads = values.threads === '' ? {} : { threads: Number(values.threads) };
  const context = promptLength + tokens;
  const runtime = await Runtime.open(model, { budget, context, window, ...threads });
  try {
    const sequence = runtime.sequence();
    runtime.stats.begin(); // Loading is not a part of it.
    const run = runtime.stats.begin();
    await run.prefill(() => sequence.forward(ids.slice(0, promptLength), 'last'));
    const { prefillMs, flashBytes } = run.snapshot(promptLength, 0);
    const decode = runtime.stats.begin();
    const before = process.cpuUsage();
    for (const id of ids.slice(promptLength, promptLength + tokens)) {
      await decode.decode(() => sequence.forward([id], 'last'));
    }
    const { user, system } = process.cpuUsage(before);
    const stats: RunStats = decode.snapshot(0, tokens);
    return {
      promptMs: prefillMs,
      promptBytes: flashBytes,
      tokensPerSecond: stats.tokensPerSecond,
      hitRate: stats.expertHitRate ?? 1,
      bytesPerToken: stats.flashBytes / tokens,
      ioShare: stats.ioMs / stats.decodeMs,
      processorMsPerToken: (user + system) / 1000 / tokens,
      peakRss: stats.peakRss,
    };
  } finally {
    await runtime.close();
  }
}

const cells = values.budgets.split(',').flatMap((size) =>
  values.windows.split(',').map((name) => ({
    size,
    name,
    budget: model.budgetOf(parseSize(size, '--budgets')).bytes,
    window: (name === 'auto' ? 'auto' : name === 'lru' ? Infinity : Number(name)) as PolicyName,
    runs: [] as Figures[],
  })),
);
for (let round = 0; round < Number(values.rounds); round++) {
  for (const { budget, window, runs } of cells) runs.push(await measure(budget, window));
}
model.close();
const report = cells.map(({ size, name, runs }) => {
  const of = (key: keyof Figures) => median(runs.map((run) => run[key]));
  const keys = Object.keys(runs[0] ?? {}) as (keyof Figures)[];
  return { budget: size, window: name, ...Object.fromEntries(keys.map((key) => [key, of(key)])) };
}) as (Figures & { budget: string; window: string })[];
if (values.json) process.stdout.write(`${JSON.stringify(report)}\n`);
else {
  for (const cell of report) {
    process.stdout.write(
      `${cell.budget} ${cell.window}: prompt ${(cell.promptMs / 1000).toFixed(2)} s, ${formatBytes(cell.promptBytes)}; ` +
        `${cell.tokensPerSecond.toFixed(2)} tokens/s, hits ${(100 * cell.hitRate).toFixed(1)}%, ` +
        `${formatBytes(cell.bytesPerToken)} per token, I/O ${(100 * cell.ioShare).toFixed(0)}% of the time, ` +
        `processor ${cell.processorMsPerToken.toFixed(0)} ms per token, peak ${formatBytes(cell.peakRss)}\n`,
    );
  }
}
