/** The header of predictors.safetensors by somebody who can mend its checksum. */

import assert from 'node:assert/strict';
import { describe, it, test } from 'node:test';
import { byteLength } from '../../src/dtype.ts';
import { crcHex } from '../../src/flash/checksum.ts';
import type { Manifest } from '../../src/flash/manifest.ts';
import { layoutPredictors, parsePredictors } from '../../src/flash/predictor-file.ts';
import { tinyManifest } from '../support/manifest.ts';

const manifest: Manifest = { ...tinyManifest(), crc32: 'abcdef01' };
const report = { sparsity: 0.9, predicted: 0.2, recall: 0.9, precision: 0.5, mass: 0.99 };
const shape = { rank: 4, relu: false, input: 'ffn' as const, report };
const { header, bytes: size } = layoutPredictors(manifest, {
  producer: 'test',
  dtype: 'q8',
  layers: [shape, shape],
  checksum: () => 7,
});

type Header = Record<string, Record<string, unknown>>;
const parsed = () => JSON.parse(header.subarray(8).toString()) as Header;
const documentIn = (entries: Header) =>
  JSON.parse(String(entries.__metadata__?.predictors)) as Record<string, unknown>;

/** A header of this JSON with a checksum that fits. */
function mended(json: string, headerBytes = header.length): Buffer {
  const written = Buffer.alloc(headerBytes, ' ');
  written.writeBigUInt64LE(BigInt(headerBytes - 8));
  written.write(json, 8, 'latin1');
  const field = /"crc32":"[0-9a-f]{8}"/;
  const zeroed = written.toString('latin1').replace(field, '"crc32":"00000000"');
  return Buffer.from(zeroed.replace(field, `"crc32":"${crcHex(zeroed)}"`), 'latin1');
}

function refused(bytes: Buffer, says: RegExp, fileBytes = size): void {
  assert.throws(
    () => parsePredictors(bytes, manifest, { path: 'predictors.safetensors', size: fileBytes }),
    (error: Error & { line?: string }) => {
      assert.equal(error.name, 'InputError', error.stack);
      assert.match(error.line ?? '', /^predictors\.safetensors: damaged: /);
      assert.match(error.line ?? '', says);
      assert.ok((error.line ?? '').length < 1000);
      return true;
    },
  );
}

test('what was written is read', () => {
  const set = parsePredictors(mended(JSON.stringify(parsed())), manifest, { path: '', size });
  assert.equal(set.layers[1]?.b.bytes, 24 * byteLength('q8', 4));
});

const first = 'layers.0.predictor.a';
const offsets = parsed()[first]?.data_offsets as [number, number];
const entryLies: readonly (readonly [name: string, value: unknown, says: RegExp])[] = [
  ['none', undefined, /layers\.0\.predictor\.a is not/],
  ['one of no object', 3, /not an object/],
  ['negative offsets', { data_offsets: [-4096, -4096 + offsets[1]] }, /data_offsets/],
  ['offsets in fractions', { data_offsets: [0.5, offsets[1] + 0.5] }, /data_offsets/],
  ['offsets of text', { data_offsets: ['0', `${offsets[1]}`] }, /data_offsets/],
  [
    'offsets beyond the file',
    { data_offsets: [2 ** 50, 2 ** 50 + offsets[1]] },
    /truncated|describes/,
  ],
  ['another shape', { shape: [4, 99] }, /data_offsets span/],
  ['a place elsewhere', { data_offsets: offsets.map((at) => at + 64) }, /is not \d+ bytes at/],
  ['a dtype from a prototype', { dtype: 'constructor' }, /dtype "constructor"/],
];

describe('an entry of the header with', () => {
  for (const [name, value, says] of entryLies) {
    it(`${name} is refused`, () => {
      const entries = parsed();
      const changed = value instanceof Object ? { ...entries[first], ...value } : value;
      refused(mended(JSON.stringify({ ...entries, [first]: changed })), says);
    });
  }
});

const documentLies: readonly (readonly [path: string, value: unknown, says: RegExp])[] = [
  ['rank', 2 ** 31 - 1, /is not \d+ bytes/],
  ['rank', 1e300, /rank/],
  ['rank', 0, /rank/],
  ['rank', 5, /predictor\.b is not|predictor\.a is not/],
  ['magnitude', { threshold: 0.5 }, /rows of 4 values are not rows of gates/],
  ['magnitude', { threshold: -1 }, /threshold/],
  ['relu', 'yes', /relu/],
  ['report', { ...report, mass: 7 }, /mass/],
  ['input', 'toString', /input/],
];

describe('a layer with', () => {
  for (const [key, value, says] of documentLies) {
    it(`${key} ${JSON.stringify(value).slice(0, 40)} is refused`, () => {
      const entries = parsed();
      const document = { ...documentIn(entries), layers: [{ ...shape, [key]: value }, shape] };
      const metadata = { ...entries.__metadata__, predictors: JSON.stringify(document) };
      refused(mended(JSON.stringify({ ...entries, __metadata__: metadata })), says);
    });
  }
});

test('a layer that is said to have none leaves the place of another empty', () => {
  const entries = parsed();
  const document = { ...documentIn(entries), layers: [null, shape] };
  const metadata = { ...entries.__metadata__, predictors: JSON.stringify(document) };
  refused(mended(JSON.stringify({ ...entries, __metadata__: metadata })), /layers\.1\.predictor/);
});

test('JSON nested 20,000 deep, no JSON, no metadata and a file of another length are refused', () => {
  const deep = '['.repeat(20_000) + ']'.repeat(20_000);
  const crc = '"crc32":"00000000"';
  refused(mended(`{"__metadata__":{${crc}},"a":${deep}}`, 45_056), /nested more than/, 45_056);
  const entries = parsed();
  const nested = { ...entries.__metadata__, predictors: deep };
  refused(
    mended(JSON.stringify({ ...entries, __metadata__: nested }), 45_056),
    /nested|account|promises/,
    size + 45_056 - header.length,
  );
  refused(mended(`{${crc}`), /not valid JSON/);
  refused(mended(`{${crc}}`), /not an object|header entry/);
  refused(mended(JSON.stringify({ ...entries, __metadata__: { crc32: '00000000' } })), /JSON/);
  refused(mended(JSON.stringify(entries)), /describes/, size + 4096);
});
