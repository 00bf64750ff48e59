/** Model directories that are damaged: named with file, tensor and offset, and never run. */

import assert from 'node:assert/strict';
import {
  appendFileSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { before, describe, it } from 'node:test';
import { assertRefused, runCli, runCliWell } from '../support/cli.ts';
import { storiesOpt } from '../support/fixtures.ts';
import { convert, copyModel, flip, readManifest, runAtFloor } from '../support/model.ts';
import { temporaryRoot } from '../support/temporary.ts';

const root = temporaryRoot();
const intact = join(root.path, 'intact');

const parallel = { concurrency: availableParallelism() };
const generateArgs = (model: string) => [
  ...['generate', model, '--prompt', 'Once upon a time', '--exact', '--max-tokens', '2'],
];
const budget = ['--dram-budget', '512MiB'];

// As float32, the weights are large enough for some of them to be streamed at the smallest budget.
before(() => convert(storiesOpt, intact, '--dtype', 'f32'));

/** A copy of the intact model, with something done to the file `name` of it. */
function damagedModel(name: string, damage: (file: string) => void): string {
  const model = copyModel(intact, root.directory());
  damage(join(model, name));
  return model;
}

/** What opens the model to show it and what opens it to run it both refuse it. */
async function assertNeverOpens(model: string, says: readonly (string | RegExp)[]) {
  assertRefused(await runCli([...generateArgs(model), ...budget]), says);
  assertRefused(await runCli(['inspect', model]), says);
}

describe('a flipped byte in a small file or a header', parallel, () => {
  const small = [
    'config.json',
    'generation_config.json',
    'merges.txt',
    'special_tokens_map.json',
    'tokenizer.json',
    'tokenizer_config.json',
    'vocab.json',
  ];
  for (const name of small) {
    it(`is found in ${name}`, async () => {
      const model = damagedModel(name, (file) => flip(file, Math.floor(statSync(file).size / 2)));
      const says = [`${join(model, name)}, byte 0: damaged`, 'Convert'];
      if (name === 'tokenizer.json') await assertNeverOpens(model, says);
      else assertRefused(await runCli(['inspect', model]), says);
    });
  }

  for (const name of ['resident.safetensors', 'bundles.safetensors']) {
    it(`is found in the header of ${name}`, async () => {
      const model = damagedModel(name, (file) => flip(file, 100));
      await assertNeverOpens(model, [`${join(model, name)}, byte 0: damaged`, 'Convert']);
    });
  }

  it('is found anywhere in flash.json', async () => {
    const { size } = statSync(join(intact, 'flash.json'));
    for (const place of [0.1, 0.35, 0.6, 0.85, 0.999]) {
      const model = damagedModel('flash.json', (file) => flip(file, Math.floor(size * place)));
      const result = await runCli(['inspect', model]);
      assertRefused(result, [`${join(model, 'flash.json')}: damaged`, 'Convert']);
    }
  });
});

describe('a flipped byte in the weights', parallel, () => {
  const tensors = [
    { what: 'an embedding', tensor: 'embed.tokens', row: 2000, streamed: true },
    { what: 'the position table', tensor: 'embed.positions', row: 3, streamed: true },
    { what: 'an attention matrix', tensor: 'layers.3.attention.qkv.weight', row: 383 },
    { what: 'an output matrix', tensor: 'layers.5.attention.out.weight', row: 0 },
    { what: 'a bundle', tensor: 'layers.4.ffn.bundles', row: 200, streamed: true },
    { what: 'the last bundle', tensor: 'layers.5.ffn.bundles', row: 511 },
    { what: 'a bias', tensor: 'layers.2.ffn.up.bias', row: 0 },
    { what: 'a norm', tensor: 'final_norm.weight', row: 0 },
  ];
  for (const { what, tensor, row, streamed = false } of tensors) {
    it(`is found in ${what}`, async () => {
      const { file, shape, offset, bytes, rowsPerBlock } = readManifest(intact).tensors[tensor]!;
      const rows = shape.length > 1 ? (shape[0] ?? 1) : 1;
      const rowBytes = bytes / rows;
      const blockOffset = offset + Math.floor(row / rowsPerBlock) * rowsPerBlock * rowBytes;
      const model = damagedModel(file, (path) => flip(path, offset + (row + 1) * rowBytes - 1));
      const says = [`${join(model, file)}, tensor ${tensor}, byte ${blockOffset}: damaged`];
      assertRefused(await runCli(['inspect', model, '--verify']), [...says, 'Convert']);
      assertRefused(await runCli([...generateArgs(model), ...budget, '--json']), says);
      if (streamed) assertRefused(await runAtFloor(generateArgs(model)), says);
    });
  }

  it('does not keep inspect from showing what the model is', async () => {
    const model = damagedModel('bundles.safetensors', (file) => flip(file, 5000));
    const { stdout } = await runCliWell(['inspect', model]);
    assert.match(stdout, /^architecture +opt/m);
  });
});

describe('a model that is not whole', parallel, () => {
  const needed = ['resident.safetensors', 'bundles.safetensors', 'config.json', 'tokenizer.json'];
  for (const name of needed) {
    it(`is refused without ${name}`, async () => {
      const model = damagedModel(name, (file) => rmSync(file));
      await assertNeverOpens(model, [`${join(model, name)}: is missing`, 'Convert']);
    });
  }

  it('is no model without flash.json', async () => {
    const model = damagedModel('flash.json', (file) => rmSync(file));
    await assertNeverOpens(model, [`${model}: is not a flashllm model: no flash.json`, 'convert']);
  });

  it('is refused when the weights are cut or too long', async () => {
    const { size } = statSync(join(intact, 'bundles.safetensors'));
    const cut = damagedModel('bundles.safetensors', (file) => truncateSync(file, size - 4096));
    const file = join(cut, 'bundles.safetensors');
    await assertNeverOpens(cut, [`${file}: damaged: it has ${size - 4096} bytes`, `${size}`]);
    const long = damagedModel('bundles.safetensors', (path) => appendFileSync(path, 'x'));
    await assertNeverOpens(long, [`it has ${size + 1} bytes`, `flash.json says ${size}`]);
  });

  it('is refused when flash.json is cut or empty', async () => {
    for (const bytes of [0, 1000]) {
      const model = damagedModel('flash.json', (file) => truncateSync(file, bytes));
      const result = await runCli(['inspect', model]);
      assertRefused(result, [`${join(model, 'flash.json')}: damaged`, 'Convert']);
    }
  });
});

describe('a directory that is no model of this version', parallel, () => {
  it('is refused when its format is newer', async () => {
    const model = damagedModel('flash.json', (file) => {
      const text = readFileSync(file, 'utf8');
      writeFileSync(file, text.replace('"formatVersion": 3', '"formatVersion": 4'));
    });
    await assertNeverOpens(model, ['flash.json: format version 4 is newer', 'Update flashllm']);
  });

  it('is refused when it is a checkpoint', async () => {
    const says = [`${storiesOpt}: is not a flashllm model: no flash.json`, 'flashllm convert'];
    assertRefused(await runCli([...generateArgs(storiesOpt), ...budget]), says);
  });

  it('is refused when it is a file, or not there', async () => {
    const file = join(storiesOpt, 'config.json');
    const result = await runCli([...generateArgs(file), ...budget]);
    assertRefused(result, [`${file}: is not a directory`]);
    assertRefused(await runCli(['inspect', file]), [`${file}, byte 0: is not GGUF`]);
    const nowhere = join(root.path, 'nowhere');
    await assertNeverOpens(nowhere, [`${nowhere}: no such directory`]);
  });
});
