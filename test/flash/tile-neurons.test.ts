import assert from 'node:assert/strict';
import { test } from 'node:test';
import { tileNeurons } from '../../src/flash/ffn-units.ts';

const MIB = 2 ** 20;

test('tiles are whole blocks that divide the neurons, as large as 2 MiB allow', () => {
  for (const [neurons, block, bytes, expected] of [
    [4864, 256, 9.2 * MIB, 256],
    [4864, 32, 9.2 * MIB, 608],
    [1536, 32, 1.6 * MIB, 1536],
    [8960, 256, 23 * MIB, 256],
    [6912, 256, 30 * MIB, 256],
    [11008, 256, 72 * MIB, 256],
    [14336, 256, 110 * MIB, 256],
    [5504, 32, 18 * MIB, 128],
    [29568, 32, 900 * MIB, 64],
    [32 * 1009, 32, 900 * MIB, 32],
    [48, 1, 0.01 * MIB, 48],
    [2048, 1, 64 * MIB, 64],
    [31, 1, MIB, null],
    [100, 32, MIB, null],
  ] as const) {
    const k = tileNeurons(neurons, block, bytes);
    assert.equal(k, expected, `${neurons} neurons in blocks of ${block}`);
    if (k !== null) assert.ok(neurons % k === 0 && k % block === 0);
  }
});
