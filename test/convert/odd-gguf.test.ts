/** GGUF files of unusual content: what becomes of them, or what is said. */

import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { parseGguf } from '../../scripts/fuzz/gguf-document.ts';
import { examineCheckpoint } from '../../src/convert/examine.ts';
import { inspectCheckpoint } from '../../src/convert/inspect-checkpoint.ts';
import { openCheckpoint } from '../../src/convert/open-checkpoint.ts';
import { type GgufTensorParts, ggufBytes, value } from '../support/gguf.ts';
import { type BlockModel, writeBlockGguf } from '../support/gguf-model.ts';
import { temporaryRoot } from '../support/temporary.ts';

const root = temporaryRoot();
const model: BlockModel = {
  ...{ hidden: 32, layers: 2, heads: 2, kvHeads: 1, ffn: 64, vocab: 2048 },
  typeOf: (name) => (name === 'output.weight' ? null : 'F16'),
};

/** The file of a model, with other metadata and tensors. */
function changed(
  change: (parts: { keys: [string, Buffer][]; tensors: GgufTensorParts[] }) => void,
): string {
  const path = writeBlockGguf(root.directory(), model);
  const { metadata, tensors } = parseGguf(readFileSync(path));
  const parts = { keys: [...metadata], tensors: [...tensors] };
  change(parts);
  writeFileSync(path, ggufBytes({ metadata: parts.keys, tensors: parts.tensors }));
  return path;
}

/** What prevents the conversion. */
async function problemsOf(path: string): Promise<readonly string[]> {
  const { problems, close } = await examineCheckpoint(path, {});
  await close();
  return problems.map(({ line }) => line);
}

test('matrices of several dtypes keep each its own', async () => {
  const types = (name: string) =>
    name === 'token_embd.weight' ? 'F32' : name === 'output.weight' ? null : 'F16';
  const path = writeBlockGguf(root.directory(), { ...model, typeOf: types });
  const { manifest } = await inspectCheckpoint(path);
  assert.equal(manifest.tensors.get('embed.tokens')?.dtype, 'f32');
  assert.equal(manifest.tensors.get('layers.0.attention.qkv.weight')?.dtype, 'f16');
  assert.equal(manifest.dtypes.bundles, 'f16');
});

test('a rotary scaling of 0 is none', async () => {
  const path = changed(({ keys }) => {
    keys.push(['llama.rope.scaling.type', value.text('linear')]);
    keys.push(['llama.rope.scaling.factor', value.f32(0)]);
  });
  assert.deepEqual(await problemsOf(path), []);
});

test('a file without a tokenizer, or with too many or too few tensors, is refused in its own words', async () => {
  const bare = changed((parts) => {
    parts.keys = parts.keys.filter(([key]) => !key.startsWith('tokenizer.'));
  });
  assert.match((await problemsOf(bare))[0] ?? '', /the file holds no tokenizer\. Supported: gpt2/);
  const more = changed(({ tensors }) => {
    tensors.push({ name: 'blk.0.extra.weight', sizes: [2], type: 0, data: Buffer.alloc(8) });
  });
  assert.match(
    (await problemsOf(more))[0] ?? '',
    /its metadata does not account for: blk\.0\.extra\.weight\. It may have a newer form/,
  );
  const fewer = changed((parts) => {
    parts.tensors = parts.tensors.filter(({ name }) => name !== 'blk.1.ffn_up.weight');
  });
  assert.match(
    (await problemsOf(fewer))[0] ?? '',
    /no tensor model\.layers\.1\.mlp\.up_proj\.weight, which its metadata requires/,
  );
});

test('a model directory, or a GGUF file that is not there, is named as such', async () => {
  const dir = root.directory();
  writeFileSync(join(dir, 'flash.json'), '{}');
  await assert.rejects(openCheckpoint(dir), /is a model directory: it is converted already/);
  await assert.rejects(openCheckpoint(join(dir, 'model.gguf')), /no such file$/);
});
