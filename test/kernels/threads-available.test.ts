import assert from 'node:assert/strict';
import { test } from 'node:test';
import { availableThreads } from '../../src/kernels/threads/available.ts';
import { withFiles } from '../support/file-tree.ts';

/** What availableThreads says on a machine of 8 cores with these files. */
function among(files: Readonly<Record<string, string>>): number {
  return withFiles(files, (root) => availableThreads(root, 8));
}

test('the threads of this machine are at least one', () => {
  assert.ok(availableThreads() >= 1);
});

test('a quota of a control group limits the threads, rounded up', () => {
  const version2 = 'proc/self/cgroup';
  const inner = { [version2]: '0::/outer/inner\n' };
  const max = (group: string, text: string) => ({ [`sys/fs/cgroup${group}/cpu.max`]: text });
  assert.equal(among({}), 8);
  assert.equal(among({ ...inner, ...max('/outer/inner', 'max 100000\n') }), 8);
  assert.equal(among({ ...inner, ...max('/outer/inner', '250000 100000\n') }), 3);
  assert.equal(among({ ...inner, ...max('/outer/inner', '10000 100000\n') }), 1);
  assert.equal(among({ ...inner, ...max('/outer/inner', '900000 100000\n') }), 8);
  // A limit further out counts too; so does that of a container whose inner path does not resolve.
  const outer = max('/outer', '200000 100000\n');
  assert.equal(among({ ...inner, ...max('/outer/inner', 'max 100000\n'), ...outer }), 2);
  assert.equal(among({ ...inner, ...max('', '150000 100000\n') }), 2);
});

test('so does a quota of the older interface', () => {
  const groups = { 'proc/self/cgroup': '4:memory:/a\n3:cpu,cpuacct:/a\n0::/\n' };
  const group = (quota: string) => ({
    'sys/fs/cgroup/cpu/a/cpu.cfs_quota_us': quota,
    'sys/fs/cgroup/cpu/a/cpu.cfs_period_us': '100000\n',
  });
  assert.equal(among({ ...groups, ...group('-1\n') }), 8);
  assert.equal(among({ ...groups, ...group('350000\n') }), 4);
});
