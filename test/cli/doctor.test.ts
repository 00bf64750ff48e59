/** What the machine can do, as `doctor` tells it. */

import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { test } from 'node:test';
import { availableThreads } from '../../src/kernels/threads/available.ts';
import { assertRefused, runCli, runCliJson, runCliWell } from '../support/cli.ts';
import { temporaryRoot } from '../support/temporary.ts';

const root = temporaryRoot();

test('figures of this machine, nothing left in the directory', async () => {
  const dir = root.directory();
  const found = await runCliJson<Record<string, unknown>>(['doctor', dir, '--json']);
  assert.equal(found.node, process.version);
  assert.equal(found.system, `${process.platform} ${process.arch}`);
  assert.equal(found.threads, availableThreads());
  assert.ok(Number(found.availableMemory) > 0);
  assert.ok(Number(found.freeDisk) > 0);
  assert.equal(typeof found.directIo, 'boolean');
  assert.equal(found.deviceBandwidth, null);
  assert.deepEqual(readdirSync(dir), []);
});

test('a slower core and a device without a profile are told, with the way out', async () => {
  const dir = root.directory();
  const { stdout, stderr } = await runCliWell(['doctor', dir], { env: { FLASHLLM_CORE: 'plain' } });
  assert.match(stdout, /compute core +plain SIMD/);
  assert.match(stderr, /does not support relaxed SIMD/);
  assert.match(stderr, /flashllm probe/);
});

test('what is no directory is refused', async () => {
  assertRefused(await runCli(['doctor', `${root.directory()}/none`]), [
    'none',
    'no such directory',
  ]);
});
