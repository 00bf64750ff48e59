import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BlockChecksums, crcHex, decodeWords, encodeWords } from '../../src/flash/checksum.ts';
import { formatManifest, type Manifest, parseManifest } from '../../src/flash/manifest.ts';
import { Dice } from '../support/random.ts';

const manifest: Manifest = {
  crc32: '',
  producer: 'flashllm test',
  spec: {
    family: 'opt',
    vocabSize: 10,
    hiddenSize: 4,
    embeddingSize: 4,
    layers: 1,
    maxPositions: 8,
    block: 'sequential',
    attention: { heads: 2, kvHeads: 2, headDim: 2, scale: 2 ** -0.5, qkNorm: 'none', windows: [] },
    positions: { kind: 'learned', offset: 2 },
    norm: { kind: 'layer', eps: 1e-5, placement: 'pre', shared: false, final: true },
    ffn: { neurons: 6, activation: 'relu', gate: 'none', threshold: 0 },
    tiedHead: true,
    bosId: 2,
    eosIds: [2],
  },
  dtypes: { resident: 'f16', bundles: 'f16' },
  layers: [
    { tensor: 'layers.0.ffn.bundles', neurons: 6, bundleBytes: 512, upOffset: 0, downOffset: 8 },
  ],
  files: { 'config.json': { bytes: 3, crc32: '0a0b0c0d' } },
  tensors: new Map([
    [
      'embed.tokens',
      {
        name: 'embed.tokens',
        file: 'resident.safetensors',
        dtype: 'f16',
        shape: [10, 4],
        offset: 4096,
        bytes: 80,
        rowsPerBlock: 4,
        checksums: Uint32Array.of(1, 0xffffffff, 3),
      },
    ],
  ]),
};

test('a manifest survives being written and read', () => {
  const text = formatManifest(manifest);
  const crc32 = /"crc32": "(\w+)"\n\}\n$/.exec(text)?.[1];
  assert.deepEqual(parseManifest(text, 'flash.json'), { ...manifest, crc32 });
});

test('a manifest of version 1 is read, with the defaults of what it does not say', () => {
  const { block: _, attention, norm, ffn, ...spec } = manifest.spec;
  const { qkNorm: _q, windows: _w, ...heads } = attention;
  const { shared: _s, ...plainNorm } = norm;
  const old = {
    ...JSON.parse(formatManifest(manifest)),
    formatVersion: 1,
    architecture: {
      ...spec,
      attention: heads,
      norm: plainNorm,
      ffn: { neurons: ffn.neurons, activation: ffn.activation },
    },
    layers: manifest.layers.map(({ upOffset: _u, ...layer }) => layer),
    crc32: '00000000',
  };
  const zeroed = `${JSON.stringify(old, null, 1)}\n`;
  const crc32 = crcHex(zeroed);
  const text = zeroed.replace('"crc32": "00000000"\n}\n', `"crc32": "${crc32}"\n}\n`);
  assert.deepEqual(parseManifest(text, 'flash.json'), { ...manifest, crc32 });
});

test('any changed byte is found', () => {
  const text = formatManifest(manifest);
  const dice = new Dice(3);
  for (let round = 0; round < 300; round++) {
    const bytes = Buffer.from(text);
    const at = dice.between(0, bytes.length - 1);
    bytes[at] = (bytes[at] ?? 0) ^ (1 << dice.between(0, 7));
    assert.throws(() => parseManifest(bytes.toString('latin1'), 'flash.json'), {
      name: 'InputError',
      line: /flash.json: (damaged|format version \d+ is newer)/,
    });
  }
});

test('a newer version is named', () => {
  const text = formatManifest(manifest).replace('"formatVersion": 2', '"formatVersion": 3');
  assert.throws(() => parseManifest(text, 'flash.json'), {
    line: /flash.json: format version 3 is newer than this flashllm reads \(2\). Update flashllm/,
  });
});

test('block checksums do not depend on how the data arrives', () => {
  const dice = new Dice(4);
  const data = Uint8Array.from({ length: 10_000 }, () => dice.between(0, 255));
  const whole = new BlockChecksums(512);
  whole.add(data);
  const expected = whole.finish();
  assert.equal(expected.length, 20);
  const parts = new BlockChecksums(512);
  for (let at = 0; at < data.length; ) {
    const bytes = dice.between(1, 2000);
    parts.add(data.subarray(at, at + bytes));
    at += bytes;
  }
  assert.deepEqual(parts.finish(), expected);
  assert.deepEqual(decodeWords(encodeWords(expected)), expected);
});
