/** GGUF files whose formats are kept: what they compute, at every budget. */

import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { type ConvertOptions, convertCheckpoint } from '../../src/convert/convert.ts';
import { inspectCheckpoint } from '../../src/convert/inspect-checkpoint.ts';
import { Model } from '../../src/engine/model.ts';
import type { RunRequest } from '../../src/engine/run-request.ts';
import type { InputError } from '../../src/errors.ts';
import { parseManifest } from '../../src/flash/manifest-reader.ts';
import { ModelFiles } from '../../src/flash/model-files.ts';
import { verifyModel } from '../../src/flash/verify.ts';
import { predictTrain } from '../../src/predictor/predict-train.ts';
import { type BlockModel, writeBlockGguf } from '../support/gguf-model.ts';
import { type ManifestDocument, mended, withValue } from '../support/manifest.ts';
import { readManifest } from '../support/model.ts';
import { temporaryRoot } from '../support/temporary.ts';
import { assertSameBits } from './sparse-runs.ts';
import { relativeError, withSequence } from './support.ts';

const MIB = 1024 * 1024;
const root = temporaryRoot();
const geometry = { hidden: 256, layers: 4, heads: 4, kvHeads: 2, vocab: 2048 };

/** Whether a tensor is in the second half of the layers, where files often have more bits. */
const isLate = (name: string) => /^blk\.[23]\./.test(name);

/** As a file of the recipe Q4_K_M: several formats within a layer, others in the next. */
const mixed: BlockModel = {
  ...geometry,
  ffn: 768,
  typeOf: (name) => {
    if (name === 'output.weight') return 'Q6_K';
    if (name === 'token_embd.weight') return 'Q5_0';
    if (/attn_v|ffn_down/.test(name)) return isLate(name) ? 'Q4_K' : 'Q6_K';
    return /attn_output/.test(name) ? 'Q5_K' : 'Q4_K';
  },
};

const models: Record<string, BlockModel & { readonly tile?: number }> = {
  'several formats': { ...mixed, tile: 256 },
  // Four rows of the vocabulary lie together, and one is left.
  'blocks of 32, a tied head': {
    ...{ ...geometry, vocab: 2049, layers: 6, hidden: 96, ffn: 2112, tile: 192 },
    typeOf: (name) => {
      if (name === 'output.weight') return null;
      if (name === 'token_embd.weight') return 'Q5_0';
      if (/attn_output/.test(name)) return 'Q8_0';
      if (/ffn_down/.test(name)) return isLate(name) ? 'Q4_1' : 'Q5_1';
      return /attn_k/.test(name) ? 'Q4_0' : 'Q4_1';
    },
  },
  'few bits, and a matrix of single values': {
    ...{ ...geometry, layers: 6, ffn: 512 },
    typeOf: (name) => {
      if (name === 'output.weight') return 'F16';
      if (name === 'token_embd.weight') return 'Q3_K';
      if (/attn_q/.test(name)) return 'IQ4_NL';
      if (/attn_k/.test(name)) return 'MXFP4';
      if (/attn_output|ffn_gate/.test(name)) return 'IQ4_XS';
      return /ffn_up/.test(name) ? 'Q2_K' : 'Q3_K';
    },
  },
};

async function convertedAs(
  checkpoint: string,
  options: Partial<ConvertOptions> = {},
): Promise<string> {
  const output = join(root.directory(), 'model');
  await convertCheckpoint({ checkpoint, output, dramBudget: 2048 * MIB, ...options });
  return output;
}

const ids = Array.from({ length: 40 }, (_, i) => (i * 311) % geometry.vocab);

const logits = (model: string, request: Partial<RunRequest> = {}) =>
  withSequence(model, 64 * MIB, { context: 64, logits: 'all', ...request }, (sequence) =>
    sequence.logits(ids),
  );

const variants: [number, Partial<RunRequest>][] = [
  [5 * MIB, {}],
  [64 * MIB, { residency: 'none' }],
  [64 * MIB, { residency: 'none', chunk: 5, threads: 2 }],
  [40 * MIB, { threads: 2 }],
  [32 * MIB, { memoryLimit: 3 * MIB, chunk: 8 }],
];

for (const [name, model] of Object.entries(models)) {
  test(`${name}: computes what the values of its blocks give, the same bits everywhere`, async () => {
    const gguf = writeBlockGguf(root.directory(), model);
    const { tile } = model;
    const kept = await convertedAs(gguf, tile === undefined ? {} : { tile });
    const values = await logits(await convertedAs(gguf, { dtype: 'f32' }));
    const exact = relativeError(await logits(kept, { ffn: 'exact' }), values);
    assert.ok(exact < 1e-5, `in f32, a relative error of ${exact}`);
    const rounded = relativeError(await logits(kept), values);
    assert.ok(rounded < 0.05 && rounded > exact, `a relative error of ${rounded}`);
    for (const base of [{}, { ffn: 'exact' }] as const) {
      const { partial, arenas } = await assertSameBits(kept, variants, base);
      assert.ok(partial >= 2, `${partial} variants read weights while decoding`);
      assert.ok(arenas >= 1, `${arenas} variants used several memories`);
    }
  });

  test(`${name}: every tensor has the format it had, and as many bytes`, async () => {
    const gguf = writeBlockGguf(root.directory(), model);
    const { manifest, formats } = await inspectCheckpoint(gguf);
    const stored = new Set([
      ...[...manifest.tensors.values()].map(({ dtype }) => dtype),
      ...manifest.ffns.flat().flatMap(({ parts }) => parts.map(({ dtype }) => dtype)),
    ]);
    const names = Object.keys(formats ?? {}).map((format) => format.toLowerCase());
    for (const format of names) assert.ok(stored.has(format as 'f16'), format);
    assert.deepEqual(
      [...stored].filter((dtype) => dtype !== 'u8' && dtype !== 'f32').sort(),
      names.sort(),
    );
    for (const [layer, [units]] of manifest.ffns.entries()) {
      // One tile: each layer is smaller than a large read.
      assert.equal(units?.k, model.ffn);
      assert.equal(units?.kind, 'tile');
      const down = units?.parts.find(({ part }) => part === 'down')?.dtype.toUpperCase();
      assert.equal(down, model.typeOf(`blk.${layer}.ffn_down.weight`));
    }
  });
}

test('blocks are copied as they are, rows whole where rotary pairs ask for another order', async () => {
  const dir = root.directory();
  const gguf = writeBlockGguf(dir, mixed);
  const model = await convertedAs(gguf);
  const file = readFileSync(gguf);
  const { tensors } = readManifest(model);
  const resident = readFileSync(join(model, 'resident.safetensors'));
  const rowsOf = (name: string) => {
    const { offset, bytes, shape } = tensors[name] ?? { offset: 0, bytes: 0, shape: [1] };
    const rowBytes = bytes / (shape[0] ?? 1);
    return Array.from({ length: shape[0] ?? 1 }, (_, row) =>
      resident.subarray(offset + row * rowBytes, offset + (row + 1) * rowBytes),
    );
  };
  const value = rowsOf('layers.0.attention.value.weight');
  assert.equal(value.length, 128);
  assert.ok(file.includes(Buffer.concat(value)), 'the value projection');
  const query = rowsOf('layers.0.attention.query.weight');
  assert.ok(!file.includes(Buffer.concat(query)));
  // Row 32 h + i of a head was row 2 i + h.
  const pairs = Array.from({ length: 256 }, (_, row) => {
    const [head, within] = [Math.floor(row / 64), row % 64];
    return query[64 * head + 32 * (within % 2) + Math.floor(within / 2)] ?? Buffer.alloc(0);
  });
  assert.ok(file.includes(Buffer.concat(pairs)), 'the query projection');
});

test('a manifest with several formats is believed no more than another', async () => {
  const model = await convertedAs(writeBlockGguf(root.directory(), mixed), { tile: 256 });
  const document = JSON.parse(readFileSync(join(model, 'flash.json'), 'utf8')) as ManifestDocument;
  const key = 'layers.0.attention.key.weight';
  parseManifest(mended(document), 'flash.json');
  for (const [path, value, says] of [
    [['dtypes', 'resident'], 'q4_k', /its dtype is /],
    [['tensors', 'embed.tokens', 'dtype'], 'q5_1', /bytes are not 2048 rows of 192/],
    [['tensors', 'embed.tokens', 'dtype'], 'q7_k', /Invalid type/],
    [['tensors', key, 'dtype'], 'f32', /bytes are not 128 rows of 1024/],
    [['tensors', key, 'shape'], [128, 512], /its shape is not \(128, 256\)/],
    [['tensors', key], undefined, /there is no layers\.0\.attention\.qkv\.weight/],
    [['ffns', 0, 0, 'k'], 128, /3 units of 128 neurons are not 768/],
    [['ffns', 0, 0, 'parts', 2, 'dtype'], 'q4_k', /unitBytes/],
    [
      ['ffns', 0, 0, 'parts', 2, 'shape'],
      [256, 128],
      /its down has rows of 128, not of whole blocks of q6_k/,
    ],
    [['formatVersion'], 2, /FFNs of 0|what units/],
  ] as const) {
    const text = mended(withValue(document, path, value));
    assert.throws(
      () => parseManifest(text, 'flash.json'),
      (error: InputError) => says.test(error.message),
      path.join('.'),
    );
  }
});

test('a damaged tile is found and named', async () => {
  const model = await convertedAs(writeBlockGguf(root.directory(), mixed));
  const path = join(model, 'bundles.safetensors');
  const bytes = readFileSync(path);
  const { offset = 0 } = readManifest(model).tensors['layers.1.ffn.tiles'] ?? {};
  bytes[offset + 1000] = (bytes[offset + 1000] ?? 0) ^ 16;
  writeFileSync(path, bytes);
  await assert.rejects(logits(model), (error: InputError) =>
    /^layers\.1\.ffn\.tiles: .*checksum/.test(`${error.place.tensor}: ${error.message}`),
  );
  const files = await ModelFiles.open(model);
  try {
    await assert.rejects(
      verifyModel(files),
      (error: InputError) => error.place.tensor === 'layers.1.ffn.tiles',
    );
  } finally {
    files.close();
  }
});

test('a scale that is not finite is found when the file is converted', async () => {
  const gguf = writeBlockGguf(root.directory(), mixed);
  const bytes = readFileSync(gguf);
  // The last matrix: its data end before those of the norms.
  const at = bytes.length - 9 * 1024 - 256 * 3 * 144;
  bytes.writeUInt16LE(0x7c00, at);
  writeFileSync(gguf, bytes);
  await assert.rejects(convertedAs(gguf), (error: InputError) =>
    /^blk\.3\.ffn_down.*not a finite number, in the block of index \[0, 0\]/.test(
      `${error.place.tensor}: ${error.message}`,
    ),
  );
});

test('where single neurons are chosen, they are stored in 8 bits, and it is said', async () => {
  const gguf = writeBlockGguf(root.directory(), mixed);
  const output = join(root.directory(), 'model');
  const options = { checkpoint: gguf, output, dramBudget: 2048 * MIB, hiddenAct: 'relu' } as const;
  const { dtypes, notes } = await convertCheckpoint(options);
  assert.deepEqual(dtypes, { resident: 'mixed', bundles: 'q8' });
  assert.ok(notes.some((said) => /FFNs are stored as q8/.test(said)));
  const exact = await logits(await convertedAs(gguf, { dtype: 'f32', hiddenAct: 'relu' }));
  const error = relativeError(await logits(output), exact);
  assert.ok(error < 0.05, `a relative error of ${error}`);
});

test('predictors cannot be trained for tiles, and the message tells how they can', async () => {
  const model = await Model.open(await convertedAs(writeBlockGguf(root.directory(), mixed)));
  try {
    const corpus = { documents: ['a'], corpus: 'text', thresholdSparsity: 0.5 };
    const request = { budget: 2048 * MIB, ...corpus, threads: 1 };
    await assert.rejects(predictTrain(model, request), (error: InputError) =>
      /--ffn-dtype/.test(error.hint ?? ''),
    );
  } finally {
    model.close();
  }
});
