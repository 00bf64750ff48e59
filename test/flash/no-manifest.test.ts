/** What is said about a path that is no model directory, and how to make a model of it. */

import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { InputError } from '../../src/errors.ts';
import { readManifest } from '../../src/flash/manifest-reader.ts';
import { temporaryRoot } from '../support/temporary.ts';

const root = temporaryRoot();

/** A directory that holds an empty file of this name. */
function holding(name: string): string {
  const dir = root.directory();
  writeFileSync(join(dir, name), '{}');
  return dir;
}

test('whatever is no model directory is named, with the command that makes one of it', async () => {
  const dir = root.directory();
  const gguf = join(dir, 'model.bin');
  writeFileSync(gguf, 'GGUF\x03');
  const text = join(dir, 'text');
  writeFileSync(text, 'GGU');
  const empty = join(dir, 'empty');
  mkdirSync(empty);
  const [adapter, checkpoint] = [holding('adapter_config.json'), holding('config.json')];
  const folder = holding('model.Q4_K_M.gguf');
  const cases: readonly [path: string, what: RegExp, hint: string][] = [
    [gguf, /is a GGUF file/, `Convert it first: flashllm convert ${gguf} <model>`],
    [text, /is not a directory/, 'Make a model with: flashllm convert <checkpoint> <model>'],
    [empty, /no flash\.json in it$/, 'Make a model with: flashllm convert <checkpoint> <model>'],
    [
      adapter,
      /it is an adapter/,
      `Merge it into its checkpoint: flashllm convert <checkpoint> <model> --lora ${adapter}`,
    ],
    [checkpoint, /it is a checkpoint/, `Convert it first: flashllm convert ${checkpoint} <model>`],
    [
      folder,
      /no flash\.json in it$/,
      `Convert the file in it: flashllm convert ${join(folder, 'model.Q4_K_M.gguf')} <model>`,
    ],
  ];
  for (const [path, what, hint] of cases) {
    await assert.rejects(readManifest(path), (error: unknown) => {
      assert.ok(error instanceof InputError);
      assert.match(error.message, what);
      assert.equal(error.hint, hint);
      assert.equal(error.place.file, path);
      return true;
    });
  }
});
