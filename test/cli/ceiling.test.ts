/** The budget as a ceiling: the kernel enforces it, and nothing is killed. */

import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { withMemoryGroup } from '../support/cgroup.ts';
import { runCli } from '../support/cli.ts';
import { storiesOpt } from '../support/fixtures.ts';
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
    await withMemoryGroup(t, budget * MIB, async (group) => {
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
