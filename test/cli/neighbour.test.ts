/** Without `--dram-budget`, a neighbour in the same control group keeps what it has. */

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { before, it } from 'node:test';
import { withMemoryGroup } from '../support/cgroup.ts';
import { runCliJson } from '../support/cli.ts';
import { storiesOpt } from '../support/fixtures.ts';
import { convert } from '../support/model.ts';
import { temporaryRoot } from '../support/temporary.ts';

const root = temporaryRoot();
const MB = 2 ** 20;
let model = '';
before(async () => {
  model = await convert(storiesOpt, join(root.path, 'model'));
});

it('the default budget is nine tenths of what a neighbour leaves', async (t) => {
  await withMemoryGroup(t, 600 * MB, async (group) => {
    const hold = `const held = Buffer.alloc(${250 * MB}, 1);
      process.stdout.write('held');
      setInterval(() => held[0]++, 1000);`;
    const [command, ...rest] = [...group.under, process.execPath, '-e', hold];
    const neighbour = spawn(command ?? '', rest, { stdio: ['ignore', 'pipe', 'inherit'] });
    const exit = once(neighbour, 'exit');
    try {
      await once(neighbour.stdout, 'data');
      const { stats } = await runCliJson<{ stats: { dramBudget: number; peakRss: number } }>(
        ['generate', model, '--prompt', 'Once', '--max-tokens', '2'],
        { under: group.under },
      );
      // Node holds some megabytes of its own besides the buffer.
      assert.ok(stats.dramBudget <= 0.9 * 350 * MB, `${stats.dramBudget} bytes`);
      assert.ok(stats.dramBudget >= 0.9 * 300 * MB, `${stats.dramBudget} bytes`);
      assert.ok(stats.peakRss <= stats.dramBudget);
      assert.equal(group.kills(), 0);
    } finally {
      neighbour.kill('SIGKILL');
      await exit;
    }
  });
});
