import assert from 'node:assert/strict';
import { test } from 'node:test';
import { addressLimit, mappableBytes } from '../src/address-space.ts';
import { withFiles } from './support/file-tree.ts';

const limits = (space: string, data: string): string =>
  'Limit                     Soft Limit           Hard Limit           Units     \n' +
  `Max data size             ${data.padEnd(20)} unlimited            bytes     \n` +
  `Max address space         ${space.padEnd(20)} unlimited            bytes     \n`;

function left(space: string, data: string): ReturnType<typeof addressLimit> {
  const files = {
    'proc/self/limits': limits(space, data),
    'proc/self/status': 'VmSize:\t  700000 kB\nVmData:\t  100000 kB\n',
  };
  return withFiles(files, addressLimit);
}

test('a limit leaves what is not taken yet', () => {
  assert.equal(left('unlimited', 'unlimited'), null);
  const space = left('1024000000', 'unlimited');
  assert.deepEqual(space, {
    name: 'the address space of this process (ulimit -v)',
    limit: 1_024_000_000,
    left: 1_024_000_000 - 700_000 * 1024,
  });
  assert.equal(left('1000000', 'unlimited')?.left, 0);
});

test('of two limits, the one that leaves less counts', () => {
  assert.match(left('4096000000', '204800000')?.name ?? '', /ulimit -d/);
  assert.match(left('1024000000', '4096000000')?.name ?? '', /ulimit -v/);
});

test('systems that do not tell have no limit', () => {
  assert.equal(withFiles({}, mappableBytes), null);
});
