import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BlockChecksums, decodeWords, encodeWords } from '../../src/flash/checksum.ts';
import { formatManifest } from '../../src/flash/manifest.ts';
import { parseManifest } from '../../src/flash/manifest-reader.ts';
import { mended, tinyManifest } from '../support/manifest.ts';
import { Dice } from '../support/random.ts';

const manifest = tinyManifest();

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
    ffns: undefined,
  };
  const text = mended(old);
  const crc32 = /"crc32": "(\w+)"\n\}\n$/.exec(text)?.[1];
  assert.deepEqual(parseManifest(text, 'flash.json'), { ...manifest, crc32 });
});

test('a manifest of version 2 is read: its FFNs are of neurons', () => {
  const llama = { model_type: 'llama', intermediate_size: 24, num_key_value_heads: 4 };
  for (const each of [manifest, tinyManifest({ ...llama, rms_norm_eps: 1e-5 })]) {
    const old = { ...JSON.parse(formatManifest(each)), formatVersion: 2, ffns: undefined };
    const text = mended(old);
    const crc32 = /"crc32": "(\w+)"\n\}\n$/.exec(text)?.[1];
    assert.deepEqual(parseManifest(text, 'flash.json'), { ...each, crc32 });
    assert.ok(each.ffns.flat().every(({ kind, k }) => kind === 'neuron' && k === 1));
  }
});

test('the scaling of Llama 3 is stored by the word of the first models', () => {
  const llama = {
    model_type: 'llama',
    intermediate_size: 24,
    num_key_value_heads: 4,
    rms_norm_eps: 1e-5,
    rope_scaling: { rope_type: 'llama3', factor: 8, low_freq_factor: 1, high_freq_factor: 4 },
  };
  const written = tinyManifest(llama);
  const text = formatManifest(written);
  const scaling = { factor: 8, trained: 30, lowFactor: 1, highFactor: 4 };
  const stored = JSON.parse(text).architecture.positions.scaling;
  assert.deepEqual(stored, { kind: 'wavelength', ...scaling });
  const { positions } = parseManifest(text, 'flash.json').spec;
  assert.deepEqual(positions, written.spec.positions);
  assert.deepEqual(positions.kind === 'rotary' && positions.scaling, {
    kind: 'llama3',
    ...scaling,
  });
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
  const text = formatManifest(manifest).replace('"formatVersion": 3', '"formatVersion": 4');
  assert.throws(() => parseManifest(text, 'flash.json'), {
    line: /flash.json: format version 4 is newer than this flashllm reads \(3\). Update flashllm/,
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
