/** `flash.json` by somebody who can mend a checksum: no number is believed that nothing bears out. */

import assert from 'node:assert/strict';
import { describe, it, test } from 'node:test';
import { encodeWords } from '../../src/flash/checksum.ts';
import { parseManifest } from '../../src/flash/manifest-reader.ts';
import { documentOf, mended, mendedText, tinyManifest, withValue } from '../support/manifest.ts';

const document = documentOf(tinyManifest());
const huge = 2 ** 31 - 1;

function refused(text: string, says: RegExp): void {
  assert.throws(
    () => parseManifest(text, 'flash.json'),
    (error: Error & { line?: string }) => {
      assert.equal(error.name, 'InputError', `${error.stack}`);
      assert.match(error.line ?? '', /^flash\.json: (damaged|format version)/);
      assert.match(error.line ?? '', says);
      assert.ok((error.line ?? '').length < 1000);
      return true;
    },
  );
}

/** What is put where, and what is said of it. */
const lies: readonly (readonly [path: string, value: unknown, says: RegExp])[] = [
  ['architecture.layers', huge, /2147483647 layers, and bundles of 2/],
  ['architecture.layers', 1, /1 layers/],
  ['architecture.vocabSize', 1e15, /embed\.tokens: its shape/],
  ['architecture.vocabSize', 39, /embed\.tokens: its shape/],
  ['architecture.hiddenSize', huge, /bundleBytes/],
  ['architecture.embeddingSize', 8, /embed\.tokens/],
  ['architecture.maxPositions', 31, /embed\.positions/],
  ['architecture.maxPositions', 2 ** 40, /positions/],
  ['architecture.positions.offset', 3, /embed\.positions/],
  ['architecture.positions', { kind: 'none' }, /has no embed\.positions/],
  ['architecture.attention.heads', 1e9, /qkv|attention/],
  ['architecture.attention.kvHeads', 3, /4 heads cannot share 3/],
  ['architecture.attention.kvHeads', 2, /qkv/],
  ['architecture.attention.headDim', 8, /qkv/],
  ['architecture.attention.windows', [4], /1 windows for 2 layers/],
  ['architecture.attention.qkNorm', 'rms', /there is no .*query_norm/],
  ['architecture.norm.eps', -1, /norm\.eps/],
  ['architecture.norm.shared', true, /has no .*ffn_norm/],
  ['architecture.norm.final', false, /has no final_norm/],
  ['architecture.ffn.neurons', 25, /24 neurons of 25/],
  ['architecture.ffn.gate', 'linear', /bundleBytes|upOffset/],
  ['architecture.tiedHead', false, /there is no head/],
  ['dtypes.resident', 'f32', /its dtype is f16/],
  ['dtypes.bundles', 'q4', /downOffset|bundleBytes/],
  ['layers.0.tensor', 'embed.tokens', /layers\.0: its bundles/],
  ['layers.1.neurons', 1e15, /layers\.1: /],
  ['layers.0.bundleBytes', 1024, /bundleBytes 1024 is not 512/],
  ['layers.0.downOffset', 480, /downOffset 480 is not 32/],
  ['layers.0.upOffset', 16, /upOffset 16 is not 0/],
  ['layers.0.order', encodeWords(new Uint32Array(24).fill(3)), /its order/],
  ['layers.0.order', encodeWords(Uint32Array.from({ length: 24 }, (_, i) => i + 1)), /its order/],
  ['layers.0.order', encodeWords(Uint32Array.of(0, 1, 2)), /its order/],
  ['files./etc/passwd', { bytes: 1, crc32: '00000000' }, /no model has a file/],
  ['files.../other/config.json', { bytes: 1, crc32: '00000000' }, /no model has a file/],
  ['files.predictors.safetensors', { bytes: 1, crc32: '00000000' }, /no model has a file/],
  ['files.tokenizer.json', undefined, /there is no tokenizer\.json/],
  ['files.tokenizer.json.bytes', 2 ** 40, /said to have/],
  ['files.tokenizer.json.headerBytes', 8, /tokenizer\.json/],
  ['files.tokenizer.json.crc32', 'nonsense', /its checksum is none/],
  ['files.resident.safetensors', undefined, /resident/],
  ['files.resident.safetensors.headerBytes', 2 ** 40, /too long/],
  ['files.resident.safetensors.headerBytes', undefined, /no whole sectors/],
  ['files.resident.safetensors.bytes', 4097, /no whole sectors/],
  ['files.bundles.safetensors.bytes', 2 ** 40, /are not the/],
  ['tensors.embed.tokens', undefined, /there is no embed\.tokens/],
  ['tensors.embed.tokens.shape', [40], /its shape/],
  ['tensors.embed.tokens.shape', [40, 16, 1], /its shape/],
  ['tensors.embed.tokens.offset', 0, /not where it belongs/],
  ['tensors.embed.tokens.offset', 2 ** 50, /not where it belongs/],
  ['tensors.embed.tokens.bytes', 2 ** 50, /rows of 32/],
  ['tensors.embed.tokens.file', 'bundles.safetensors', /it is not in resident/],
  ['tensors.embed.tokens.file', '../../etc/passwd', /it is not in resident/],
  ['tensors.embed.tokens.dtype', 'u8', /its dtype is u8/],
  ['tensors.embed.tokens.rowsPerBlock', 2 ** 50, /a block has/],
  ['tensors.embed.tokens.crc32', '', /0 checksums/],
  ['tensors.final_norm.weight.dtype', 'f16', /its dtype is f16/],
  ['tensors.final_norm.weight.offset', 4100, /not where it belongs/],
  ['tensors.layers.1.ffn.bundles.rowsPerBlock', 2, /a block has 1 rows/],
  ['tensors.layers.1.ffn.bundles.offset', 512, /not where it belongs/],
  [
    'tensors.unheard_of',
    { file: 'x', dtype: 'f16', shape: [1], offset: 0, bytes: 2, rowsPerBlock: 1, crc32: '' },
    /has no unheard_of/,
  ],
];

/** `files.tokenizer.json.bytes` as keys: names of files and tensors have dots in them. */
function keysOf(path: string): string[] {
  const [top = '', ...rest] = path.split('.');
  if (top !== 'files' && top !== 'tensors') return [top, ...rest];
  const last = rest.at(-1) ?? '';
  const fields = [
    'bytes',
    'crc32',
    'headerBytes',
    'shape',
    'offset',
    'file',
    'dtype',
    'rowsPerBlock',
  ];
  if (!fields.includes(last)) return [top, rest.join('.')];
  return [top, rest.slice(0, -1).join('.'), last];
}

describe('a manifest with a checksum that fits, and', () => {
  for (const [path, value, says] of lies) {
    const shown = JSON.stringify(value)?.slice(0, 40) ?? 'nothing';
    it(`${path} ${shown} is refused`, () => {
      refused(mended(withValue(document, keysOf(path), value)), says);
    });
  }
});

test('the same is read as it is', () => {
  assert.equal(parseManifest(mended(document), 'flash.json').tensors.size, 26);
  const order = Uint32Array.from({ length: 24 }, (_, i) => 23 - i);
  const arranged = withValue(document, ['layers', 0, 'order'], encodeWords(order));
  assert.deepEqual(parseManifest(mended(arranged), 'flash.json').layers[0]?.order, order);
});

test('numbers beyond every range, and names of prototypes, are refused', () => {
  const text = mended(document);
  const scale = /"scale": [\d.]+/;
  refused(mendedText(text.replace(scale, '"scale": 1e999')), /scale/);
  for (const name of ['__proto__', 'constructor', 'toString']) {
    const odd = withValue(document, ['architecture', 'ffn', 'activation'], name);
    refused(mended(odd), /activation/);
  }
});

test('JSON nested 20,000 deep is one line', () => {
  const deep = `${'['.repeat(20_000)}${']'.repeat(20_000)}`;
  refused(deep, /nested more than 200 levels/);
  refused(
    mendedText(mended(document).replace(/"producer": "[^"]+"/, `"producer": ${deep}`)),
    /nested/,
  );
});

test('geometries of all kinds are those of their own layout', () => {
  for (const dtype of ['f32', 'f16', 'bf16', 'q8', 'q4'] as const) {
    const dtypes = { resident: dtype, bundles: dtype };
    for (const config of [
      {},
      { word_embed_proj_dim: 8 },
      { tie_word_embeddings: false },
      { layer_norm_elementwise_affine: false, enable_bias: false },
      { do_layer_norm_before: false },
    ]) {
      parseManifest(mended(documentOf(tinyManifest(config, dtypes))), 'flash.json');
    }
  }
});
