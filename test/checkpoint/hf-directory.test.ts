import assert from 'node:assert/strict';
import { copyFileSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { openWeights, readConfig } from '../../src/checkpoint/hf-directory.ts';
import {
  readTensor,
  refusal,
  temporaryDirectory,
  tensorOf,
  torchSamples,
  writeSafetensors,
} from './helpers.ts';

const pointer = `version https://git-lfs.github.com/spec/v1
oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393
size 250540281
`;

function writeIndex(dir: string, name: string, weightMap: unknown): void {
  writeFileSync(join(dir, name), JSON.stringify({ metadata: {}, weight_map: weightMap }));
}

/** Two shards of safetensors and their index. */
function writeShards(dir: string): void {
  writeSafetensors(join(dir, 'model-00001-of-00002.safetensors'), { a: [1], b: [2, 3] });
  writeSafetensors(join(dir, 'model-00002-of-00002.safetensors'), { c: [4], unlisted: [5] });
  writeIndex(dir, 'model.safetensors.index.json', {
    a: 'model-00001-of-00002.safetensors',
    b: 'model-00001-of-00002.safetensors',
    c: 'model-00002-of-00002.safetensors',
  });
}

test('the best of what is there is used', async (t) => {
  const dir = temporaryDirectory(t);
  const names = async (): Promise<string[]> => {
    const source = await openWeights(dir);
    await source.close();
    return [...source.tensors.keys()];
  };
  copyFileSync(join(torchSamples, 'module.pt'), join(dir, 'shard.bin'));
  writeIndex(dir, 'pytorch_model.bin.index.json', { '0.weight': 'shard.bin' });
  // What the index leaves out is there all the same.
  assert.deepEqual(await names(), ['0.weight', '0.bias', '1.weight', '1.bias']);
  copyFileSync(join(torchSamples, 'state_dict.pt'), join(dir, 'pytorch_model.bin'));
  assert.deepEqual(await names(), ['weight', 'bias', 'running_mean', 'running_var']);
  writeShards(dir);
  assert.deepEqual(await names(), ['a', 'b', 'c', 'unlisted']);
  writeSafetensors(join(dir, 'model.safetensors'), { single: [1] });
  assert.deepEqual(await names(), ['single']);
});

test('tensors are read from the shard that the index names', async (t) => {
  const dir = temporaryDirectory(t);
  writeShards(dir);
  const source = await openWeights(dir);
  assert.equal((await readTensor(tensorOf(source, 'c'))).readFloatLE(), 4);
  assert.equal(tensorOf(source, 'c').file, join(dir, 'model-00002-of-00002.safetensors'));
  assert.equal(source.bytes, 20);
  await source.close();
});

/** What is said to those who need a tensor that an index lists and no shard holds. */
async function whyAbsent(dir: string, name: string): Promise<string | undefined> {
  const source = await openWeights(dir);
  await source.close();
  assert.equal(source.tensors.has(name), false);
  return source.absent?.(name)?.line;
}

test('a missing shard is named to those who need it, with what it should hold', async (t) => {
  const dir = temporaryDirectory(t);
  writeShards(dir);
  rmSync(join(dir, 'model-00001-of-00002.safetensors'));
  const expected =
    /model-00001-of-00002\.safetensors: this shard is missing; .*index\.json expects a, b in it/;
  assert.match((await whyAbsent(dir, 'b')) ?? '', expected);
  rmSync(join(dir, 'model-00002-of-00002.safetensors'));
  await assert.rejects(openWeights(dir), refusal(expected));
});

test('a tensor that no shard holds is named to those who need it', async (t) => {
  const dir = temporaryDirectory(t);
  writeShards(dir);
  const second = 'model-00002-of-00002.safetensors';
  writeIndex(dir, 'model.safetensors.index.json', { c: second, d: second });
  assert.match(
    (await whyAbsent(dir, 'd')) ?? '',
    /00002\.safetensors, tensor d: .*index\.json says that this file holds/,
  );
});

test('a tensor in another shard than the index says is found, and one in two shards is told', async (t) => {
  const dir = temporaryDirectory(t);
  writeShards(dir);
  const [first, second] = [1, 2].map((n) => `model-0000${n}-of-00002.safetensors`);
  writeIndex(dir, 'model.safetensors.index.json', { c: first, a: second });
  const source = await openWeights(dir);
  assert.deepEqual([...source.tensors.keys()], ['a', 'b', 'c', 'unlisted']);
  assert.deepEqual([...(source.unlisted ?? [])], ['b', 'unlisted']);
  assert.deepEqual(source.copies, []);
  await source.close();
  writeSafetensors(join(dir, second ?? ''), { c: [4, 5], a: [1] });
  const doubled = await openWeights(dir);
  assert.deepEqual(
    doubled.copies?.map(({ name, file }) => [name, file]),
    [['a', join(dir, second ?? '')]],
  );
  await doubled.close();
});

test('an index cannot lead out of its directory', async (t) => {
  const dir = temporaryDirectory(t);
  for (const shard of ['../x', '/etc/passwd', '..', '.', '', 'a/b', 'a\\b', 'C:x', 'a\0b', 3]) {
    writeIndex(dir, 'model.safetensors.index.json', { d: shard });
    await assert.rejects(
      openWeights(dir),
      refusal(/tensor d: .* is not the name of a file in the directory/),
    );
  }
});

test('an index that is damaged', async (t) => {
  const dir = temporaryDirectory(t);
  const path = join(dir, 'model.safetensors.index.json');
  writeFileSync(path, '{"weight_map": {"ä": "x",}}');
  await assert.rejects(openWeights(dir), refusal(/index\.json, byte 26: is not valid JSON/));
  writeFileSync(path, '{"weight_map": []}');
  await assert.rejects(openWeights(dir), refusal(/has no weight_map/));
  writeFileSync(path, '{"weight_map": {}}');
  await assert.rejects(openWeights(dir), refusal(/names no file/));
});

test('git-LFS pointers are recognised wherever they stand', async (t) => {
  const dir = temporaryDirectory(t);
  const files = [
    'pytorch_model.bin.index.json',
    'pytorch_model.bin',
    'model.safetensors.index.json',
    'model.safetensors',
  ];
  for (const name of files) {
    writeFileSync(join(dir, name), pointer);
    const escaped = name.replaceAll('.', '\\.');
    const message = `${escaped}: is a git-LFS pointer, .*git lfs pull`;
    await assert.rejects(openWeights(dir), refusal(new RegExp(message)));
  }
  writeFileSync(join(dir, 'config.json'), pointer);
  await assert.rejects(readConfig(dir), refusal(/config\.json: is a git-LFS pointer/));
});

test('a directory without weights, and what is no directory', async (t) => {
  const dir = temporaryDirectory(t);
  await assert.rejects(
    openWeights(dir),
    refusal(/none of model\.safetensors, .*pytorch_model\.bin\.index\.json\. Download/),
  );
  writeFileSync(join(dir, 'tf_model.h5'), '');
  await assert.rejects(openWeights(dir), refusal(/it has tf_model\.h5/));
  await assert.rejects(openWeights(join(dir, 'nowhere')), refusal(/no such directory/));
  await assert.rejects(openWeights(join(dir, 'tf_model.h5')), refusal(/is not a directory/));
  mkdirSync(join(dir, 'model.safetensors'));
  await assert.rejects(openWeights(dir), refusal(/is a directory, not a file/));
});

test('config.json', async (t) => {
  const dir = temporaryDirectory(t);
  await assert.rejects(readConfig(dir), refusal(/no config\.json in this directory/));
  const file = join(dir, 'config.json');
  writeFileSync(file, '{"model_type": "opt"}');
  assert.deepEqual(await readConfig(dir), { config: { model_type: 'opt' }, isPart: false, file });
  writeFileSync(file, '[1]');
  await assert.rejects(readConfig(dir), refusal(/is not a JSON object/));
  writeFileSync(file, '{"model_type": "opt"');
  await assert.rejects(readConfig(dir), refusal(/config\.json, byte 20: is not valid JSON/));
  writeFileSync(file, Buffer.from([0x22, 0xff, 0x22]));
  await assert.rejects(readConfig(dir), refusal(/is not UTF-8 text/));
});
