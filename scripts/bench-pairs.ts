/**
 * Two builds of flashllm on one model, in alternating pairs of whole commands: how fast a prompt is
 * processed and tokens are generated, and the ratio of each pair. Noise of the machine affects both.
 *
 *   node --import tsx scripts/bench-pairs.ts <before> <after> <model> [--rounds <n>] [--tokens <n>]
 *       [--prompt-tokens <n>] [--budget <size>] [--exact] [--threads <n>]
 *
 * <before> and <after> are directories with a built flashllm; the model must be one that both can read.
 */

import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { defaultPrompt, promptOf } from '../src/bench/prompt.ts';
import { Model } from '../src/engine/model.ts';
import { median } from './median.ts';
import { text } from './text-option.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: text('5'),
    tokens: text('64'),
    'prompt-tokens': text('512'),
    budget: text('4GiB'),
    threads: text('2'),
    exact: { type: 'boolean', default: false },
  },
});
const [before, after, dir] = positionals;
if (before === undefined || after === undefined || dir === undefined) {
  process.stderr.write('usage: bench-pairs.ts <before> <after> <model> [--rounds <n>] ...\n');
  process.exit(2);
}

const model = await Model.open(dir);
const wanted = Math.min(
  Number(values['prompt-tokens']),
  model.manifest.spec.maxPositions - Number(values.tokens),
);
const ids = promptOf((part) => model.tokenizer.encodePrompt(part), defaultPrompt, wanted);
const prompt = model.tokenizer.decode(ids, { skipSpecial: true });
model.close();

interface Figures {
  readonly prefill: number;
  readonly decode: number;
}

function run(build: string): Figures {
  const [threads, exact] = [['--threads', values.threads], values.exact ? ['--exact'] : []];
  const output = execFileSync(
    process.execPath,
    [
      ...[join(build, 'bin', 'flashllm.cjs'), 'generate', dir as string, '--json', '--ignore-eos'],
      ...['--prompt', prompt, '--max-tokens', values.tokens, '--temperature', '0'],
      ...['--dram-budget', values.budget, ...threads, ...exact],
    ],
    { stdio: ['ignore', 'pipe', 'ignore'] },
  );
  const { stats } = JSON.parse(output.toString()) as {
    stats: { promptTokens: number; prefillMs: number; tokensPerSecond: number };
  };
  return { prefill: (stats.promptTokens * 1000) / stats.prefillMs, decode: stats.tokensPerSecond };
}

const pairs: { readonly before: Figures; readonly after: Figures }[] = [];
for (let round = 0; round < Number(values.rounds); round++) {
  // Each build goes first equally often.
  const first = run(round % 2 === 0 ? before : after);
  const second = run(round % 2 === 0 ? after : before);
  pairs.push(round % 2 === 0 ? { before: first, after: second } : { before: second, after: first });
}
for (const key of ['prefill', 'decode'] as const) {
  const ratios = pairs.map((pair) => pair.after[key] / pair.before[key]);
  const rate = (which: 'before' | 'after') => median(pairs.map((pair) => pair[which][key]));
  process.stdout.write(
    `${key} (${key === 'prefill' ? `${ids.length} tokens` : `${values.tokens} tokens`}): ` +
      `${rate('before').toFixed(2)} -> ${rate('after').toFixed(2)} tokens/s, ` +
      `ratio ${median(ratios).toFixed(3)} (${ratios.map((ratio) => ratio.toFixed(3)).join(' ')})\n`,
  );
}
