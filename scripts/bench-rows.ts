/**
 * The cost of each further row in a pass: processor time and elapsed time by the number of rows, all of one
 * sequence and verified, as a draft's proposals are. Numbers of rows alternate, so that the load of other
 * programs affects all of them.
 *
 *   UV_THREADPOOL_SIZE=8 node --import tsx scripts/bench-rows.ts <model> [--budget <size>]
 *       [--rows 1,2,3,4,5,6,8] [--rounds 5] [--positions 64] [--head-rows <n>] [--threads <n>] [--json]
 */

import { parseArgs } from 'node:util';
import { defaultPrompt, promptOf } from '../src/bench/prompt.ts';
import { Model } from '../src/engine/model.ts';
import { Runtime } from '../src/engine/runtime.ts';
import { bestLogits, usualSampling } from '../src/engine/sampler.ts';
import { loadProfile } from '../src/flash/device-profile.ts';
import { parseSize } from '../src/units.ts';
import { median } from './median.ts';
import { text } from './text-option.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    budget: text('4GiB'),
    rows: text('1,2,3,4,5,6,8'),
    rounds: text('5'),
    positions: text('64'),
    'head-rows': text('Infinity'),
    threads: text(''),
    json: { type: 'boolean', default: false },
  },
});
const [dir] = positionals;
if (dir === undefined) {
  process.stderr.write('usage: bench-rows.ts <model> [--budget <size>] [--rows 1,2,...] ...\n');
  process.exit(2);
}
const counts = values.rows.split(',').map(Number);
const most = Math.max(...counts);
const positions = Number(values.positions);

const model = await Model.open(dir, {
  profile: await loadProfile(dir),
  headRows: Number(values['head-rows']),
});
const runtime = await Runtime.open(model, {
  budget: model.budgetOf(parseSize(values.budget, '--budget')).bytes,
  context: positions + most,
  ffn: 'auto',
  draftTokens: most - 1,
  ...bestLogits({ ...usualSampling, temperature: 0 }),
  ...(values.threads === '' ? {} : { threads: Number(values.threads) }),
});
const ids = promptOf((part) => model.tokenizer.encodePrompt(part), defaultPrompt, positions + most);
const sequence = runtime.sequence();
await sequence.forward(ids.slice(0, positions), 'none');

/** Milliseconds of processor time and of elapsed time that a pass over this many rows takes. */
async function pass(rows: number): Promise<readonly [processor: number, clock: number]> {
  const each = Array.from({ length: rows }, () => ({ best: 1 }));
  const started = performance.now();
  const before = process.cpuUsage();
  await sequence.verify(ids.slice(positions, positions + rows), { each }, () => ({}));
  const { user, system } = process.cpuUsage(before);
  const clock = performance.now() - started;
  sequence.rewind(positions);
  return [(user + system) / 1000, clock];
}

for (const rows of counts) await pass(rows); // V8 optimises, the stream's ring fills
const taken = new Map(counts.map((rows) => [rows, [] as (readonly [number, number])[]]));
for (let round = 0; round < Number(values.rounds); round++) {
  for (const rows of counts) taken.get(rows)?.push(await pass(rows));
}
const { streamedBytes, threads } = runtime.plan;
await runtime.close();
model.close();

process.stdout.write(
  `${dir}, ${values.budget}, ${(streamedBytes / 1e6).toFixed(0)} MB streamed, ${threads} threads\n\n` +
    '| rows | processor ms, median | least | times one row | ms, median | least |\n|---|---|---|---|---|---|\n',
);
const summary = counts.map((rows) => {
  const passes = taken.get(rows) ?? [];
  const [processor, clock] = [passes.map(([ms]) => ms), passes.map(([, ms]) => ms)];
  return {
    rows,
    processorMs: median(processor),
    leastProcessorMs: Math.min(...processor),
    ms: median(clock),
    leastMs: Math.min(...clock),
  };
});
const [first] = summary;
for (const row of summary) {
  const times = row.processorMs / (first?.processorMs ?? Number.NaN);
  process.stdout.write(
    `| ${row.rows} | ${row.processorMs.toFixed(0)} | ${row.leastProcessorMs.toFixed(0)} | ` +
      `${times.toFixed(2)} | ${row.ms.toFixed(0)} | ${row.leastMs.toFixed(0)} |\n`,
  );
}
if (values.json) process.stdout.write(`${JSON.stringify(summary)}\n`);
