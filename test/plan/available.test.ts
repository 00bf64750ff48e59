/** What the machine and its control groups leave to this process. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type AvailableMemory, availableMemory } from '../../src/plan/available.ts';
import { withFiles } from '../support/file-tree.ts';

const MB = 1024 ** 2;
const status = 'VmRSS:\t  102400 kB\nRssAnon:\t   40960 kB\nRssFile:\t   61440 kB\n';

type Files = Readonly<Record<string, string>>;

/** A machine of 8000 MB, 6000 of them available, on which this process has 40 MB to itself. */
function on(files: Files): AvailableMemory {
  const meminfo = `MemTotal:       ${8000 * 1024} kB\nMemAvailable:   ${6000 * 1024} kB\n`;
  const machine = { 'proc/meminfo': meminfo, 'proc/self/status': `${status}RssShmem:\t0 kB\n` };
  return withFiles({ ...machine, ...files }, availableMemory);
}

/** memory.stat with these megabytes. */
function stat(fields: Readonly<Record<string, number>>): string {
  return Object.entries(fields)
    .map(([name, megabytes]) => `${name} ${megabytes * MB}\n`)
    .join('');
}

test('without a group, what is available on the machine and what this process has', () => {
  assert.deepEqual(on({}), { bytes: 6040 * MB, source: 'machine' });
});

test('this machine gives something', () => {
  assert.ok(availableMemory().bytes > 0);
});

describe('control groups of version 2', () => {
  const inside = { 'proc/self/cgroup': '0::/outer/inner\n' };
  const group = (name: string, limit: string, fields = {}): Files => ({
    [`sys/fs/cgroup${name}/memory.max`]: `${limit}\n`,
    [`sys/fs/cgroup${name}/memory.stat`]: stat(fields),
  });
  const megabytes = (count: number) => `${count * MB}`;

  test('a group without a limit changes nothing', () => {
    const files = { ...inside, ...group('/outer/inner', 'max', { anon: 7000 }) };
    assert.equal(on(files).source, 'machine');
  });

  test('anonymous memory, tmpfs and the kernel of others are taken off, page cache is not', () => {
    const held = { anon: 540, file: 300, shmem: 100, kernel: 60, slab_reclaimable: 40 };
    const files = { ...inside, ...group('/outer/inner', megabytes(1000), held) };
    assert.deepEqual(on(files), { bytes: (1000 - 500 - 100 - 20) * MB, source: 'cgroup' });
  });

  test('older kernels tell the parts of what the kernel holds', () => {
    const held = { anon: 40, slab: 30, slab_reclaimable: 20, kernel_stack: 2, pagetables: 3 };
    const files = { ...inside, ...group('/outer/inner', megabytes(1000), held) };
    assert.equal(on(files).bytes, (1000 - 15) * MB);
  });

  test('what this process has is not taken off, even if it is charged elsewhere', () => {
    const files = { ...inside, ...group('/outer/inner', megabytes(1000), { anon: 10 }) };
    assert.equal(on(files).bytes, 1000 * MB);
  });

  test('the group that has least left decides', () => {
    const groups = {
      ...inside,
      ...group('/outer/inner', megabytes(900), { anon: 40 }),
      ...group('/outer', megabytes(1000), { anon: 640 }),
      ...group('', megabytes(2000), { anon: 740 }),
    };
    assert.equal(on(groups).bytes, 400 * MB);
  });

  test('memory.high is a limit, too', () => {
    const high = { 'sys/fs/cgroup/outer/memory.high': megabytes(700) };
    const files = { ...inside, ...high, ...group('/outer', 'max', { anon: 140 }) };
    assert.equal(on(files).bytes, 600 * MB);
  });

  test('a full group leaves nothing', () => {
    const files = { ...inside, ...group('/outer', megabytes(500), { anon: 700 }) };
    assert.deepEqual(on(files), { bytes: 0, source: 'cgroup' });
  });

  test('a container sees its own group as the root', () => {
    const root = group('', megabytes(800), { anon: 140 });
    assert.equal(on({ 'proc/self/cgroup': '0::/\n', ...root }).bytes, 700 * MB);
    const foreign = { 'proc/self/cgroup': '0::/system.slice/docker-1f.scope\n' };
    assert.equal(on({ ...foreign, ...root }).bytes, 700 * MB);
    const outside = { 'proc/self/cgroup': '0::/../other\n' };
    assert.equal(on({ ...outside, ...root }).bytes, 700 * MB);
  });

  test('the hierarchy may be mounted anywhere, and from any group on', () => {
    const mounts =
      '31 23 0:28 / /sys/fs/cgroup ro - tmpfs tmpfs ro\n' +
      '41 31 0:38 /kube\\040pods/p1 /mnt/my\\040groups rw,nosuid shared:9 - cgroup2 cgroup2 rw\n';
    const files = {
      'proc/self/mountinfo': mounts,
      'proc/self/cgroup': '0::/kube pods/p1/c2\n',
      'mnt/my groups/c2/memory.max': megabytes(600),
      'mnt/my groups/memory.max': megabytes(500),
      'mnt/my groups/memory.stat': stat({ anon: 240 }),
    };
    assert.equal(on(files).bytes, 300 * MB);
  });
});

describe('control groups of version 1', () => {
  const inside = { 'proc/self/cgroup': '9:name=systemd:/x\n4:memory:/a/b\n0::/\n' };
  const group = (name: string, limit: number, fields = {}): Files => ({
    [`sys/fs/cgroup/memory${name}/memory.limit_in_bytes`]: `${limit}\n`,
    [`sys/fs/cgroup/memory${name}/memory.stat`]: stat(fields),
  });
  /** The largest whole page below 2^63. */
  const none = 2 ** 63 - 4096;

  test('the sums over inner groups count', () => {
    const held = { rss: 40, total_cache: 900, total_rss: 440, total_shmem: 50, shmem: 1 };
    const files = { ...inside, ...group('/a', 1000 * MB, held), ...group('/a/b', none) };
    assert.deepEqual(on(files), { bytes: (1000 - 400 - 50) * MB, source: 'cgroup' });
  });

  test('so does the limit of outer groups that cannot be seen', () => {
    const held = { total_rss: 140, hierarchical_memory_limit: 700 };
    const files = { 'proc/self/cgroup': '4:memory:/docker/1f\n', ...group('', none, held) };
    assert.equal(on(files).bytes, 600 * MB);
  });

  test('no limit is no limit', () => {
    const held = { total_rss: 7000, hierarchical_memory_limit: none / MB };
    assert.equal(on({ ...inside, ...group('/a/b', none, held) }).source, 'machine');
  });
});
