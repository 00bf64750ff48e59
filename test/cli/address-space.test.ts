/** Under a limit of address space the same text is generated, or the limit is named. */

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { assertRefused, runCli, runCliWell, startCli } from '../support/cli.ts';
import { storiesOpt } from '../support/fixtures.ts';
import { convert } from '../support/model.ts';
import { temporaryRoot } from '../support/temporary.ts';
import { hasLimits, underLimit } from '../support/ulimit.ts';

const root = temporaryRoot();
const GB = 1e6; // in the kilobytes of ulimit
let model = '';
let generate: readonly string[] = [];
let text = '';
before(async () => {
  model = await convert(storiesOpt, join(root.path, 'model'));
  generate = ['generate', model, '--prompt', 'Once', '--max-tokens', '8', '--temperature', '0'];
  ({ stdout: text } = await runCliWell(generate));
});

/** Kilobytes of addresses that Node takes before it runs anything. */
function bareNode(): number {
  const script = "process.stdout.write(require('fs').readFileSync('/proc/self/status', 'utf8'))";
  const { stdout } = spawnSync(process.execPath, ['-e', script], { encoding: 'utf8' });
  return Number(/^VmSize:\s+(\d+) kB$/m.exec(stdout)?.[1]);
}

describe('a limit of address space', () => {
  for (const [limit, threads] of [
    [3, 1],
    [4, 2],
    [16, 2],
  ] as const) {
    it(`of ${limit} GB leaves room for ${threads} threads`, async (t) => {
      if (!hasLimits(t, `-v ${limit * GB}`)) return;
      const args = [...generate, '--dram-budget', '256MiB', '--threads', `${threads}`];
      const { stdout } = await runCliWell(args, { under: underLimit(`-v ${limit * GB}`) });
      assert.equal(stdout, text);
    });
  }

  it('makes a budget of what it leaves', async (t) => {
    if (!hasLimits(t, `-v ${4 * GB}`)) return;
    const { stderr } = await runCliWell(generate, { under: underLimit(`-v ${4 * GB}`) });
    assert.match(stderr, /^DRAM budget .*: 90% of the memory within this process's limits/m);
  });

  it('that is too small for the threads is named', async (t) => {
    if (!hasLimits(t, `-v ${3 * GB}`)) return;
    const result = await runCli([...generate, '--threads', '64', '--dram-budget', '2GiB'], {
      under: underLimit(`-v ${3 * GB}`),
    });
    assertRefused(result, [
      'the address space of this process (ulimit -v) is limited to 2.86 GiB',
      'Raise the limit, or give a smaller --dram-budget or fewer --threads',
    ]);
  });

  it('that is too small for Node is named', async (t) => {
    const limit = `-v ${bareNode() + 250_000}`;
    if (!hasLimits(t, limit)) return;
    const result = await runCli(generate, { under: underLimit(limit) });
    assertRefused(result, ['(ulimit -v), too little for Node.js. Raise the limit to 2 GiB']);
  });

  it('passes signals on', async (t) => {
    if (!hasLimits(t, `-v ${4 * GB}`)) return;
    const endless = ['--temperature', '2', '--seed', '1', '--max-tokens', '500'];
    const { child, finished } = startCli([...generate, ...endless, '--dram-budget', '256MiB'], {
      under: underLimit(`-v ${4 * GB}`),
    });
    child.stdout?.once('data', () => child.kill('SIGTERM'));
    const { code, stderr } = await finished;
    // It may have come to its end before.
    assert.ok(code === 143 || code === 0, stderr);
  });

  it('is named where a memory is not to be had', (t) => {
    if (!hasLimits(t, `-v ${3 * GB}`)) return;
    const pages = fileURLToPath(new URL('../../dist/pages.js', import.meta.url));
    const script = `import(process.argv[1]).then(({ createMemory }) => createMemory(2 ** 32)).catch((error) => process.stdout.write(error.line))`;
    const node = [process.execPath, '--disable-wasm-trap-handler', '-e', script, pages];
    const [shell, ...args] = underLimit(`-v ${3 * GB}`);
    const { stdout } = spawnSync(shell, [...args, ...node], { encoding: 'utf8' });
    assert.match(
      stdout,
      /^the system refuses to reserve 4\.00 GiB of memory: .*ulimit -v\) is limited to 2\.86 GiB/,
    );
  });
});
