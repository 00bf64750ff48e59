/**
 * What it gains to generate several texts at once: tokens per second and bytes per token by the number
 * of sequences, each number in a process of its own, alternating.
 *
 *   UV_THREADPOOL_SIZE=8 node --import tsx scripts/bench-batch.ts <model> [--budget 50%] [--exact]
 *       [--sizes 1,2,4,8,16] [--tokens <n>] [--rounds <n>]
 */

import { execFileSync } from 'node:child_process';
import { parseArgs } from 'node:util';
import { generate } from '../src/engine/generate.ts';
import { Model } from '../src/engine/model.ts';
import { Runtime } from '../src/engine/runtime.ts';
import { greedy } from '../src/engine/sampler.ts';
import { loadProfile } from '../src/flash/device-profile.ts';
import { parseSize } from '../src/units.ts';
import { median } from './median.ts';
import { text } from './text-option.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    budget: text('50%'),
    exact: { type: 'boolean', default: false },
    sizes: text('1,2,4,8,16'),
    tokens: text('32'),
    rounds: text('2'),
    sequences: text(''),
  },
});
const [dir] = positionals;
if (dir === undefined) {
  process.stderr.write('usage: bench-batch.ts <model> [--budget <size>] [--exact] ...\n');
  process.exit(2);
}
const tokens = Number(values.tokens);

interface Figures {
  readonly tokensPerSecond: number;
  readonly bytesPerToken: number;
}

const beginnings = [
  ...['The sea at night', 'def quicksort(items):', 'Once upon a time', '# Installing the package'],
  ...['The history of Rome', 'import numpy as np', 'function parse(text) {', 'Tomorrow it will'],
  ...['To bake bread', 'In the year 2050', 'class Stack:', 'SELECT name FROM', 'The quick brown'],
  ...['Dear friend,', 'Chapter 1', 'Photosynthesis is'],
];

/** Generates this many texts at once, in this process. */
async function measure(sequences: number): Promise<Figures> {
  const model = await Model.open(dir as string, {
    profile: await loadProfile(dir as string),
    predictors: !values.exact,
  });
  const prompts = Array.from({ length: sequences }, (_, i) =>
    model.tokenizer.encodePrompt(`${beginnings[i % beginnings.length]}`),
  );
  const { bytes: budget } = model.budgetOf(parseSize(values.budget, '--budget'));
  const context = Math.max(...prompts.map(({ length }) => length)) + tokens;
  const runtime = await Runtime.open(model, { budget, context, sequences, bestLogits: 1 });
  try {
    const run = runtime.stats.begin();
    const before = run.snapshot(0, 0).flashBytes;
    const started = performance.now();
    const results = await Promise.all(
      prompts.map((promptIds) =>
        generate(runtime.sequence(), {
          ...{ promptIds, maxTokens: tokens, sampling: greedy, ignoreEos: true },
        }),
      ),
    );
    const seconds = (performance.now() - started) / 1000;
    const made = results.reduce((sum, result) => sum + result.tokens.length, 0);
    const read = run.snapshot(0, 0).flashBytes - before;
    return { tokensPerSecond: made / seconds, bytesPerToken: read / made };
  } finally {
    await runtime.close();
    model.close();
  }
}

if (values.sequences !== '') {
  process.stdout.write(JSON.stringify(await measure(Number(values.sequences))));
} else {
  const sizes = values.sizes.split(',').map(Number);
  const runs = new Map(sizes.map((size) => [size, [] as Figures[]]));
  for (let round = 0; round < Number(values.rounds); round++) {
    for (const size of sizes) {
      const args = [...process.execArgv, ...process.argv.slice(1), '--sequences', `${size}`];
      const output = execFileSync(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
      runs.get(size)?.push(JSON.parse(output.toString()) as Figures);
    }
  }
  const rate = (size: number) =>
    median((runs.get(size) ?? []).map(({ tokensPerSecond }) => tokensPerSecond));
  const rows = sizes.map((size) => {
    const all = runs.get(size) ?? [];
    const megabytes = median(all.map(({ bytesPerToken }) => bytesPerToken)) / 1e6;
    const times = rate(size) / rate(sizes[0] ?? 1);
    return `| ${size} | ${rate(size).toFixed(2)} | ${times.toFixed(1)} | ${megabytes.toFixed(1)} |`;
  });
  process.stdout.write(
    `${dir}, ${values.budget}${values.exact ? ', --exact' : ''}, ${tokens} tokens each, prompts included\n\n` +
      `| sequences | tokens/s | times one | MB/token |\n|---|---|---|---|\n${rows.join('\n')}\n`,
  );
}
