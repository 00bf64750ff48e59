/** GGUF files on the command line: the model is that of the checkpoint they were made from. */

import assert from 'node:assert/strict';
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { assertRefused, runCli, runCliJson, runCliWell } from '../support/cli.ts';
import { ggufCheckpoints, ggufFixtures } from '../support/fixtures.ts';
import { ggufBytes, value } from '../support/gguf.ts';
import { readManifest } from '../support/model.ts';
import { assertEntries, temporaryRoot } from '../support/temporary.ts';

const root = temporaryRoot();

interface Converted {
  readonly architecture: Readonly<Record<string, unknown>>;
  readonly formats: Readonly<Record<string, number>>;
  readonly dtypes: { readonly resident: string; readonly bundles: string };
}

describe('a GGUF and the checkpoint it was made from', { concurrency: 2 }, () => {
  for (const folder of ggufCheckpoints) {
    it(`are one model: ${folder}`, async () => {
      const dir = root.directory();
      const [fromGguf, fromDirectory] = [join(dir, 'a'), join(dir, 'b')];
      const fixture = join(ggufFixtures, folder);
      const one = await runCliJson<Converted>(['convert', join(fixture, 'model.gguf'), fromGguf]);
      assert.deepEqual(Object.keys(one.formats), ['f16']);

      // The checkpoint has no tokenizer: that of the GGUF is proved by tests of its own.
      const checkpoint = join(dir, 'checkpoint');
      cpSync(fixture, checkpoint, { recursive: true });
      for (const name of ['tokenizer.json', 'tokenizer_config.json', 'generation_config.json']) {
        cpSync(join(fromGguf, name), join(checkpoint, name));
      }
      const other = await runCliJson<Converted>(['convert', checkpoint, fromDirectory]);
      assert.deepEqual(one.dtypes, other.dtypes);
      // The format's converter writes 2048 for this family, whatever the model says.
      const positions = folder.startsWith('falcon')
        ? { maxPositions: other.architecture.maxPositions }
        : {};
      assert.deepEqual({ ...one.architecture, ...positions }, other.architecture);
      for (const name of ['resident.safetensors', 'bundles.safetensors']) {
        const bytes = readFileSync(join(fromGguf, name));
        if (folder !== 'nemotron') assert.ok(bytes.equals(readFileSync(join(fromDirectory, name))));
      }
      const generate = (model: string) =>
        runCliJson<{ text: string; tokens: number }>([
          'generate',
          model,
          '--prompt',
          'Once upon',
          '--max-tokens',
          '16',
          '--temperature',
          '0',
        ]);
      const [left, right] = [await generate(fromGguf), await generate(fromDirectory)];
      assert.equal(left.text, right.text);
    });
  }

  it('of quantised tensors', async () => {
    const model = join(root.directory(), 'model');
    const gguf = join(ggufFixtures, 'llama-mixed', 'model.gguf');
    const { stderr } = await runCliWell(['convert', gguf, model]);
    assert.match(stderr, /^stored as they are: \d+% f16, \d+% Q8_0, /m);
    assert.ok(Object.keys(readManifest(model).tensors).length > 0);
    const generate = ['generate', model, '--prompt', 'Once', '--ignore-eos', '--max-tokens', '4'];
    const { tokens } = await runCliJson<{ tokens: number[] }>(generate);
    assert.equal(tokens.length, 4);
    const { stdout } = await runCliWell(['inspect', model, '--verify']);
    assert.match(stdout, /^dtypes +\d+% f16, \d+% q8_0, /m);
    assert.match(stdout, /^FFN tiles +/m);
    const q8 = await runCliWell(['convert', gguf, model, '--dtype', 'q8', '--force']);
    assert.match(q8.stderr, /^dequantised from \d+% f16, \d+% Q8_0, .*, stored as q8$/m);
    const f32 = join(root.directory(), 'model');
    const { dtypes, formats } = await runCliJson<Converted>([
      'convert',
      gguf,
      f32,
      '--dtype',
      'f32',
    ]);
    assert.deepEqual(dtypes, { resident: 'f32', bundles: 'f32' });
    assert.deepEqual(Object.keys(formats).sort(), ['Q4_0', 'Q4_1', 'Q5_0', 'Q5_1', 'Q8_0', 'f16']);
  });

  it('can be inspected and planned before', async () => {
    const gguf = join(ggufFixtures, 'llama-mixed', 'model.gguf');
    const { stdout } = await runCliWell(['inspect', gguf]);
    assert.match(stdout, /^format +GGUF$/m);
    assert.match(stdout, /^weights +\d+% f16, \d+% Q8_0, /m);
    assert.match(stdout, /^FFN +48 neurons, silu, gated$/m);
    assert.match(stdout, /^sparsity +no neuron is exactly 0: every one is computed$/m);
    assert.match(stdout, /^converted +several formats, /m);
    assert.match(stdout, /^runs +yes, once converted$/m);
    const planned = await runCliJson<{ checkpoint: { runs: boolean } }>(['plan', gguf]);
    assert.equal(planned.checkpoint.runs, true);
  });
});

describe('a GGUF that cannot be used', { concurrency: 2 }, () => {
  const refused = async (bytes: Buffer, says: readonly (string | RegExp)[]) => {
    const dir = root.directory();
    const file = join(dir, 'model.gguf');
    writeFileSync(file, bytes);
    for (const args of [
      ['convert', file, join(dir, 'model')],
      ['inspect', file],
      ['plan', file],
    ]) {
      assertRefused(await runCli(args), says);
    }
    assertEntries(dir, ['model.gguf']);
  };

  it('is refused by the name of its architecture', async () => {
    const metadata = [['general.architecture', value.text('mamba')]] as const;
    const says = ["the architecture 'mamba' is not supported", 'Supported in GGUF: llama, qwen2'];
    await refused(ggufBytes({ metadata }), says);
    await refused(ggufBytes({}), ['the metadata has no general.architecture']);
  });

  it('is refused when it is cut', async () => {
    const whole = readFileSync(join(ggufFixtures, 'llama', 'model.gguf'));
    await refused(whole.subarray(0, whole.length - 1), [/tensor \S+, byte \d+: truncated/]);
    await refused(whole.subarray(0, 3000), ['truncated']);
  });

  it('is refused when its metadata is incomplete', async () => {
    const metadata = [['general.architecture', value.text('llama')]] as const;
    await refused(ggufBytes({ metadata }), ['the metadata has no llama.embedding_length']);
    const vocabularyOnly = [
      ...metadata,
      ['llama.embedding_length', value.u32(64)] as const,
      ['llama.attention.head_count', value.u32(4)] as const,
    ];
    await refused(ggufBytes({ metadata: vocabularyOnly }), ['has no tensor token_embd.weight']);
  });

  it('is refused when it is a git-LFS pointer', async () => {
    const pointer = 'version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n';
    await refused(Buffer.from(pointer), ['is a git-LFS pointer']);
  });
});
