/** The budget as a ceiling: the kernel enforces it, and nothing is killed. */

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { before, test } from 'node:test';
import { withMemoryGroupIfAny } from '../support/cgroup.ts';
import { runCli } from '../support/cli.ts';
import { storiesOpt, validText } from '../support/fixtures.ts';
import { convert } from '../support/model.ts';
import { temporaryRoot } from '../support/temporary.ts';

const MIB = 1024 * 1024;
const root = temporaryRoot();
let model = '';
before(async () => {
  model = await convert(storiesOpt, `${root.directory()}/model`);
});

interface Output {
  readonly tokens: number[];
  readonly stats: { readonly peakRss: number; readonly dramBudget: number };
}

const args = () => [
  ...['generate', model, '--exact', '--temperature', '0', '--json'],
  ...['--max-tokens', '150', '--prompt', 'Once upon a time'],
];

/** The budget that a refusal says is enough, in MiB. */
async function floor(): Promise<number> {
  const { stderr } = await runCli([...args(), '--dram-budget', '1MiB']);
  return Number(/Give at least (\d+)MiB/.exec(stderr)?.[1]);
}

test('five budgets from the floor to the whole model, each as the limit of a control group', async (t) => {
  const unlimited = JSON.parse((await runCli(args())).stdout) as Output;
  assert.ok(unlimited.tokens.length > 100);
  const lowest = await floor();
  for (const budget of [lowest, lowest + 1, lowest + 2, lowest + 3, lowest + 8]) {
    await withMemoryGroupIfAny(t, budget * MIB, async (group) => {
      const result = await runCli([...args(), '--dram-budget', `${budget}MiB`], {
        under: group.under,
      });
      assert.equal(result.code, 0, result.stderr);
      const { tokens, stats } = JSON.parse(result.stdout) as Output;
      assert.deepEqual(tokens, unlimited.tokens);
      assert.ok(stats.peakRss <= budget * MIB, `${stats.peakRss} at ${budget} MiB`);
      assert.equal(stats.dramBudget, budget * MIB);
      assert.equal(group.kills(), 0);
    });
  }
});

test('the floor is the same every time, and a MiB below it is refused', async () => {
  const lowest = await floor();
  assert.equal(await floor(), lowest);
  const result = await runCli([...args(), '--dram-budget', `${lowest - 1}MiB`]);
  assert.equal(result.code, 2);
  assert.match(result.stderr, /is below the floor of .*: process/);
});

/** Requests whose prompts and answers fill a context of 256 positions, or nearly. */
function longRequests(count: number): string {
  const story = readFileSync(validText, 'utf8').replaceAll('<|endoftext|>', ' ');
  return Array.from({ length: count }, (_, i) => {
    const prompt = story.slice(700 * i, 700 * (i + 1));
    const body = { prompt, max_tokens: 96, temperature: 0.7, seed: i };
    const line = { custom_id: `long-${i}`, method: 'POST', url: '/v1/completions', body };
    return `${JSON.stringify(line)}\n`;
  }).join('');
}

test('1, 4 and 16 sequences that grow to their limit stay below the budget', async (t) => {
  const dir = root.directory();
  const input = `${dir}/in.jsonl`;
  writeFileSync(input, longRequests(16));
  const texts = new Set<string>();
  for (const parallel of [1, 4, 16]) {
    const output = `${dir}/out-${parallel}.jsonl`;
    const batch = (budget: number) => [
      ...['batch', model, input, output, '--exact', '--json', '--context', '256'],
      ...['--parallel', `${parallel}`, '--dram-budget', `${budget}MiB`],
    ];
    const refused = await runCli(batch(1));
    assert.equal(refused.code, 2);
    if (parallel > 1) assert.match(refused.stderr, new RegExp(`of ${parallel} sequences, f32`));
    const lowest = Number(/Give at least (\d+)MiB/.exec(refused.stderr)?.[1]);
    await withMemoryGroupIfAny(t, lowest * MIB, async (group) => {
      const result = await runCli(batch(lowest), { under: group.under });
      assert.equal(result.code, 0, result.stderr);
      const summary = JSON.parse(result.stdout) as { peakRss: number; answered: number };
      assert.equal(summary.answered, 16);
      assert.ok(summary.peakRss <= lowest * MIB, `${summary.peakRss} at ${lowest} MiB`);
      assert.equal(group.kills(), 0);
    });
    texts.add(
      readFileSync(output, 'utf8')
        .replace(/"(?:created|id|request_id)":[^,}]+/g, '')
        .split('\n')
        .sort()
        .join('\n'),
    );
  }
  assert.equal(texts.size, 1, 'texts depend on how many sequences there are');
});

test('garbage does not make the young generation grow, whether a compute thread has started or not', () => {
  const pool = new URL('../../dist/kernels/threads/pool.js', import.meta.url).href;
  const script = `
    const { setFlagsFromString, getHeapSpaceStatistics } = await import('node:v8');
    setFlagsFromString('--semi-space-growth-factor=1'); // as the launcher does
    const { ComputeThreads } = await import('${pool}');
    const threads = await ComputeThreads.start(2);
    let kept = [];
    for (let i = 0; i < 6e6; i++) {
      kept.push({ i });
      if (kept.length > 30000) kept = [];
    }
    const young = getHeapSpaceStatistics().find((space) => space.space_name === 'new_space');
    console.log(young.space_size);
    await threads.close();
  `;
  const bytes = Number(execFileSync(process.execPath, ['--input-type=module', '-e', script]));
  assert.ok(bytes > 0 && bytes <= 4 * MIB, `${bytes} bytes`);
});
