/** `inspect`: what a model directory holds, for people and for programs. */

import assert from 'node:assert/strict';
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { before, describe, it } from 'node:test';
import { runCliJson, runCliWell } from '../support/cli.ts';
import { storiesOpt } from '../support/fixtures.ts';
import { convert, readManifest } from '../support/model.ts';
import { temporaryRoot } from '../support/temporary.ts';

interface Inspected {
  readonly model: string;
  readonly producer: string;
  readonly architecture: { readonly family: string; readonly layers: number };
  readonly dtypes: { readonly resident: string; readonly bundles: string };
  readonly layers: readonly unknown[];
  readonly files: Readonly<Record<string, { readonly bytes: number }>>;
  readonly tensors: readonly { readonly name: string; readonly blocks: number }[];
  readonly predictors: null;
  readonly verified: { readonly bytes: number; readonly blocks: number } | null;
}

const root = temporaryRoot();
const model = join(root.path, 'model');

before(() => convert(storiesOpt, model));

describe('inspect', { concurrency: 2 }, () => {
  it('shows architecture, sizes and every tensor', async () => {
    const { stdout, stderr } = await runCliWell(['inspect', model]);
    assert.equal(stderr, '');
    for (const line of [
      new RegExp(`^model +${model}$`, 'm'),
      /^made by +flashllm \d+\.\d+\.\d+$/m,
      /^architecture +opt, 6 layers, context 512$/m,
      /^hidden size +128$/m,
      /^attention +4 heads of 32, 4 for keys and values$/m,
      /^FFN +512 neurons, relu; most neurons are 0: predictors pay$/m,
      /^vocabulary +2048, head tied$/m,
      /^dtypes +f16, bundles f16$/m,
      /^predictors +none$/m,
      /^FFN bundles +1\.50 MiB +\d+\.\d%$/m,
      /^total +2\.91 MiB +100\.0%$/m,
    ]) {
      assert.match(stdout, line);
    }
    for (const name of Object.keys(readManifest(model).tensors)) {
      assert.ok(stdout.includes(`\n${name} `), `${name} is not shown`);
    }
  });

  it('gives programs the same', async () => {
    const found = await runCliJson<Inspected>(['inspect', model]);
    assert.equal(found.model, model);
    assert.equal(found.architecture.family, 'opt');
    assert.equal(found.architecture.layers, 6);
    assert.equal(found.layers.length, 6);
    assert.deepEqual(found.dtypes, { resident: 'f16', bundles: 'f16' });
    assert.equal(found.predictors, null);
    assert.equal(found.verified, null);
    for (const [name, { bytes }] of Object.entries(found.files)) {
      assert.equal(statSync(join(model, name)).size, bytes);
    }
    assert.deepEqual(
      found.tensors.map(({ name }) => name).sort(),
      Object.keys(readManifest(model).tensors).sort(),
    );
  });

  it('verifies every block', async () => {
    const { stderr } = await runCliWell(['inspect', model, '--verify']);
    assert.match(stderr, /^intact: \d+ blocks, 2\.91 MiB in .*\/s\)\n$/);
    const { tensors, verified } = await runCliJson<Inspected>(['inspect', model, '--verify']);
    const blocks = tensors.reduce((total, tensor) => total + tensor.blocks, 0);
    assert.equal(verified?.blocks, blocks);
  });
});
