/** Checkpoints stored in GGUF's block formats and in mixes of them: which matrices become what. */

import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { type ConvertOptions, convertCheckpoint } from '../../src/convert/convert.ts';
import { inspectCheckpoint } from '../../src/convert/inspect-checkpoint.ts';
import type { TargetFormat } from '../../src/convert/target-formats.ts';
import { partOf } from '../../src/flash/ffn-units.ts';
import type { Manifest } from '../../src/flash/manifest.ts';
import { readManifest } from '../../src/flash/manifest-reader.ts';
import { relativeError, withSequence } from '../engine/support.ts';
import { storiesOpt } from '../support/fixtures.ts';
import { type BlockModel, writeBlockGguf } from '../support/gguf-model.ts';
import { temporaryRoot } from '../support/temporary.ts';

const MIB = 1024 * 1024;
const root = temporaryRoot();
const geometry = { hidden: 256, heads: 4, kvHeads: 2, vocab: 2048 };
/** Its blocks are of no account: what is asked for is another format. */
const eight: BlockModel = { ...geometry, layers: 8, ffn: 256, typeOf: () => 'Q8_0' };
const small: BlockModel = { ...geometry, layers: 2, ffn: 512, typeOf: () => 'F16' };

const gguf = writeBlockGguf(root.directory(), eight);

async function manifestFor(dtype: TargetFormat, model = gguf): Promise<Manifest> {
  const { manifest, problems } = await inspectCheckpoint(model, { dtype });
  assert.deepEqual(problems, []);
  return manifest;
}

const formatOf = ({ tensors }: Manifest, name: string) => tensors.get(name)?.dtype;
const partFormats = ({ ffns }: Manifest, part: 'gate' | 'up' | 'down') =>
  ffns.map((layer) => {
    const [ffn] = layer.filter(({ name }) => name !== 'shared');
    return ffn && partOf(ffn, part)?.dtype;
  });
const layers = [0, 1, 2, 3, 4, 5, 6, 7];
/** The first eighth of the layers, the last, and every third between, as in files of llama.cpp. */
const withMore = [0, 3, 6, 7];
const pick = (more: string, base: string, which = withMore) =>
  layers.map((layer) => (which.includes(layer) ? more : base));

test('a mix gives more bits to the head, and to value and down projections of some layers', async () => {
  for (const [mix, base] of [
    ['q4_k_m', 'q4_k'],
    ['q5_k_m', 'q5_k'],
  ] as const) {
    const manifest = await manifestFor(mix);
    const attention = (name: string) =>
      layers.map((layer) => formatOf(manifest, `layers.${layer}.attention.${name}.weight`));
    // One matrix of queries, keys and values where they are alike.
    assert.deepEqual(
      attention('value'),
      pick('q6_k', 'undefined').map((dtype) => (dtype === 'undefined' ? undefined : dtype)),
    );
    assert.deepEqual(
      attention('qkv'),
      layers.map((layer) => (withMore.includes(layer) ? undefined : base)),
    );
    assert.deepEqual(attention('out'), pick(base, base));
    assert.deepEqual(partFormats(manifest, 'down'), pick('q6_k', base));
    assert.deepEqual(partFormats(manifest, 'gate'), pick(base, base));
    assert.deepEqual(partFormats(manifest, 'up'), pick(base, base));
    assert.equal(formatOf(manifest, 'head'), 'q6_k');
    assert.equal(formatOf(manifest, 'embed.tokens'), base);
  }
  const small = await manifestFor('q4_k_s');
  assert.deepEqual(partFormats(small, 'down'), pick('q5_k', 'q4_k', [0]));
  assert.equal(formatOf(small, 'layers.3.attention.value.weight'), 'q5_k');
  assert.equal(formatOf(small, 'layers.4.attention.qkv.weight'), 'q4_k');
});

test('a format is that of all matrices', async () => {
  for (const dtype of ['q4_0', 'q5_1', 'q8_0', 'q5_k', 'q6_k'] as const) {
    const { dtypes, ffns, tensors } = await manifestFor(dtype);
    assert.deepEqual(dtypes, { resident: dtype, bundles: dtype });
    assert.ok(ffns.flat().every(({ kind }) => kind === 'tile'));
    const found = new Set([...tensors.values()].map((tensor) => tensor.dtype));
    assert.deepEqual([...found].sort(), ['f32', dtype, 'u8'].sort());
  }
});

test('experts take part in a mix, routers do not', async () => {
  const experts = { count: 2, topK: 1, neurons: 256 };
  const model = writeBlockGguf(root.directory(), { ...eight, experts });
  const manifest = await manifestFor('q4_k_m', model);
  assert.deepEqual(partFormats(manifest, 'down'), pick('q6_k', 'q4_k'));
  assert.deepEqual(partFormats(manifest, 'up'), pick('q4_k', 'q4_k'));
  assert.equal(formatOf(manifest, 'layers.1.ffn.router.weight'), 'f32');
});

test('rows that are no whole blocks have another format, and it is said', async () => {
  const model = writeBlockGguf(root.directory(), { ...eight, layers: 2, hidden: 96, ffn: 512 });
  const { manifest, notes } = await inspectCheckpoint(model, { dtype: 'q4_k_m' });
  assert.deepEqual(partFormats(manifest, 'down'), ['q4_k', 'q6_k']);
  assert.deepEqual(partFormats(manifest, 'up'), ['q5_0', 'q5_0']);
  assert.equal(formatOf(manifest, 'head'), 'q8_0');
  assert.match(
    notes.join(),
    /rows of 96 weights are not whole blocks: in such matrices, .*q4_k became q5_0/,
  );
});

async function convertedAs(
  checkpoint: string,
  options: Partial<ConvertOptions>,
): Promise<{ readonly dir: string; readonly notes: readonly string[] }> {
  const dir = join(root.directory(), 'model');
  const { notes } = await convertCheckpoint({
    checkpoint,
    output: dir,
    dramBudget: 1024 * MIB,
    ...options,
  });
  return { dir, notes };
}

const ids = Array.from({ length: 24 }, (_, i) => (i * 311) % geometry.vocab);
const logits = (dir: string) =>
  withSequence(dir, 64 * MIB, { context: 64, logits: 'all', ffn: 'exact' }, (sequence) =>
    sequence.logits(ids),
  );

test('the more bits, the nearer to the checkpoint', async () => {
  const model = writeBlockGguf(root.directory(), small);
  const exact = await logits((await convertedAs(model, { dtype: 'f32' })).dir);
  let before = 0;
  for (const [dtype, most] of [
    ['q8_0', 0.03],
    ['q6_k', 0.09],
    ['q5_k_m', 0.16],
    ['q4_k_m', 0.3],
  ] as const) {
    const { dir, notes } = await convertedAs(model, { dtype });
    assert.deepEqual(notes, []);
    const error = relativeError(await logits(dir), exact);
    assert.ok(error > before && error < most, `${dtype}: ${error}`);
    before = error;
  }
});

test('blocks that a file has in the format asked for are copied', async () => {
  const typeOf = (name: string) => (/ffn_|attn_q/.test(name) ? 'Q4_K' : 'F16');
  const model = writeBlockGguf(root.directory(), { ...small, typeOf });
  const [kept, asked] = await Promise.all([
    convertedAs(model, {}),
    convertedAs(model, { dtype: 'q4_k' }),
  ]);
  const bytes = ({ dir }: { readonly dir: string }) =>
    readFileSync(join(dir, 'bundles.safetensors'));
  assert.ok(bytes(kept).equals(bytes(asked)));
  assert.equal((await readManifest(asked.dir)).dtypes.resident, 'q4_k');
});

test('single neurons are stored in the formats that they can be in, and it is said', async () => {
  for (const [dtype, neurons] of [
    ['q4_k_m', 'q4'],
    ['q6_k', 'q8'],
  ] as const) {
    const { dir, notes } = await convertedAs(storiesOpt, { dtype });
    const { dtypes, ffns } = await readManifest(dir);
    assert.equal(dtypes.bundles, neurons);
    assert.ok(ffns.flat().every(({ kind }) => kind === 'neuron'));
    assert.match(
      notes.join(),
      new RegExp(
        `FFNs are stored as ${neurons} and not as ${dtype}, because with relu, single neurons`,
      ),
    );
  }
  const { dtypes } = await readManifest(
    (await convertedAs(storiesOpt, { dtype: 'q8', ffnDtype: 'q5_k_m', tile: 256 })).dir,
  );
  assert.deepEqual(dtypes.resident, 'q8');
  assert.notEqual(dtypes.bundles, 'q8');
});

test('a weight that no scale of a format reaches is named', async () => {
  const huge = { ...small, layers: 1, ffn: 256, typeOf: () => 'F32' };
  const model = writeBlockGguf(root.directory(), huge);
  const file = readFileSync(model);
  file.writeFloatLE(3e9, file.length - 4 * (256 + 256 + 256) - 4 * 1000);
  writeFileSync(model, file);
  await assert.rejects(convertedAs(model, { dtype: 'q4_k' }), /too large for q4_k/);
});
