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
  ['architecture.layers', huge, /2147483647 layers, but FFNs of 2/],
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
  [
    'architecture.attention.kvHeads',
    3,
    /number of query heads, 4, is not a multiple of the number of KV heads, 3/,
  ],
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
  ['dtypes.bundles', 'mixed', /single neurons cannot be in mixed/],
  ['dtypes.bundles', 'q8_0', /single neurons cannot be in q8_0/],
  ['layers.0.tensor', 'embed.tokens', /layers\.0: its bundles/],
  ['layers.1.neurons', 1e15, /layers\.1: /],
  ['layers.0.bundleBytes', 1024, /bundleBytes 1024 is not 512/],
  ['layers.0.downOffset', 480, /downOffset 480 is not 32/],
  ['layers.0.upOffset', 16, /upOffset 16 is not 0/],
  ['layers.0.order', encodeWords(new Uint32Array(24).fill(3)), /its order/],
  ['layers.0.order', encodeWords(Uint32Array.from({ length: 24 }, (_, i) => i + 1)), /its order/],
  ['layers.0.order', encodeWords(Uint32Array.of(0, 1, 2)), /its order/],
  ['layers', [], /layers: 0 are described by bundles, of 2/],
  ['ffns', undefined, /does not say what units/],
  ['ffns', [], /2 layers, but FFNs of 0/],
  ['ffns.0', [], /ffns\.0: its FFNs are not ffn/],
  ['ffns.0.0.name', 'experts', /ffns\.0: its FFNs are not ffn/],
  ['ffns.0.0.name', '__proto__', /ffns\.0\.0\.name/],
  ['ffns.0.0.tensor', 'embed.tokens', /its tensor is not that of its units/],
  ['ffns.0.0.kind', 'expert', /of kind expert, not neuron or tile/],
  ['ffns.0.0.kind', 'tile', /its tensor is not/],
  ['ffns.0.0.k', 0, /ffns\.0\.0\.k/],
  ['ffns.0.0.k', 2, /24 units of 2 neurons are not 24/],
  ['ffns.0.0.k', huge, /24 units of 2147483647/],
  ['ffns.0.0.count', 25, /25 units of 1 neurons are not 24/],
  ['ffns.0.0.count', 2 ** 60, /ffns/],
  ['ffns.0.0.unitBytes', 513, /unitBytes 513 is not 512/],
  ['ffns.0.0.parts', [], /a unit has 0 parts/],
  ['ffns.0.0.parts.0.part', 'down', /its part 0 is down/],
  ['ffns.0.0.parts.0.dtype', 'q4', /its up is q4/],
  ['ffns.0.0.parts.0.dtype', 'u8', /dtype/],
  ['ffns.0.0.parts.0.offset', 32, /its up is at 32, not at 0/],
  ['ffns.0.0.parts.1.offset', 2 ** 40, /its down is at/],
  ['ffns.0.0.parts.1.shape', [16, 1], /its down is not \(1, 16\)/],
  ['ffns.0.0.parts.1.shape', [1], /ffns\.0\.0\.parts\.1\.shape/],
  ['ffns.0.0.parts.1.orientation', 'rows', /its down lies by rows, not by column/],
  ['ffns.0.0.parts.1.orientation', undefined, /its down lies by undefined/],
  [
    'architecture.ffn.experts',
    {
      count: 4,
      topK: 2,
      neurons: 6,
      shared: 0,
      denseLayers: [],
      score: 'softmax',
      normalise: true,
      scale: 1,
    },
    /ffns\.0: its FFNs are not experts/,
  ],
  ['files./etc/passwd', { bytes: 1, crc32: '00000000' }, /a model directory has no such file/],
  [
    'files.../other/config.json',
    { bytes: 1, crc32: '00000000' },
    /a model directory has no such file/,
  ],
  [
    'files.predictors.safetensors',
    { bytes: 1, crc32: '00000000' },
    /a model directory has no such file/,
  ],
  ['files.tokenizer.json', undefined, /there is no tokenizer\.json/],
  ['files.tokenizer.json.bytes', 2 ** 40, /has 1099511627776 bytes/],
  ['files.tokenizer.json.headerBytes', 8, /tokenizer\.json/],
  ['files.tokenizer.json.crc32', 'nonsense', /its crc32 is not 8 hexadecimal digits/],
  ['files.resident.safetensors', undefined, /resident/],
  ['files.resident.safetensors.headerBytes', 2 ** 40, /too long/],
  ['files.resident.safetensors.headerBytes', undefined, /is not a multiple of 4096/],
  ['files.resident.safetensors.bytes', 4097, /is not a multiple of 4096/],
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

/** A manifest whose FFNs are cut into tiles, as it would be written. */
const tiled = documentOf(tinyManifest({}, { resident: 'f16', bundles: 'f16', tile: 8 }));

test('FFNs in tiles are read as they are', () => {
  const { ffns, layers } = parseManifest(mended(tiled), 'flash.json');
  assert.deepEqual(layers, []);
  assert.deepEqual(ffns[1], [
    {
      name: 'ffn',
      tensor: 'layers.1.ffn.tiles',
      kind: 'tile',
      k: 8,
      count: 3,
      unitBytes: 512,
      parts: [
        { part: 'up', dtype: 'f16', offset: 0, shape: [8, 16] },
        { part: 'down', dtype: 'f16', offset: 256, shape: [16, 8], orientation: 'rows' },
      ],
    },
  ]);
});

describe('a manifest of tiles with a checksum that fits, and', () => {
  for (const [path, value, says] of [
    ['ffns.1.0.k', 12, /3 units of 12 neurons are not 24/],
    ['ffns.1.0.k', 1, /3 units of 1 neurons/],
    ['ffns.1.0.count', 4, /4 units of 8/],
    ['ffns.1.0.kind', 'neuron', /its tensor is not/],
    ['ffns.1.0.unitBytes', 1024, /unitBytes 1024 is not 512/],
    ['ffns.1.0.parts.1.dtype', 'f32', /unitBytes 512 is not 1024/],
    ['ffns.1.0.parts.1.orientation', 'column', /lies by column, not by rows/],
    ['ffns.1.0.parts.1.shape', [8, 16], /its down is not \(16, 8\)/],
    ['layers', document.layers, /2 are described by bundles, of 0/],
    ['formatVersion', 2, /2 layers, but FFNs of 0/],
  ] as const) {
    it(`${path} ${JSON.stringify(value).slice(0, 40)} is refused`, () => {
      refused(mended(withValue(tiled, path.split('.'), value)), says);
    });
  }
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
