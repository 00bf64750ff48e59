/** Adapters merged into checkpoints, against what PEFT's merge_and_unload makes of them. */

import assert from 'node:assert/strict';
import { cpSync, existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { openSafetensors } from '../../src/checkpoint/safetensors.ts';
import type { SourceTensor } from '../../src/checkpoint/source.ts';
import { convertCheckpoint } from '../../src/convert/convert.ts';
import { openCheckpoint } from '../../src/convert/open-checkpoint.ts';
import { readFloats, relativeError, withSequence } from '../engine/support.ts';
import { openAdapted, zeros } from '../support/adapter.ts';
import { tensorToF32 } from '../support/dtypes.ts';
import { fixture, loraFixture } from '../support/fixtures.ts';
import { Dice } from '../support/random.ts';
import { readSafetensors, writeSafetensors } from '../support/safetensors.ts';
import { temporaryRoot } from '../support/temporary.ts';
import { elementsOf, readTensor, tensorOf } from './helpers.ts';

const root = temporaryRoot();
const MIB = 1024 * 1024;
/** Which values fixtures/lora/make.py keeps of a tensor. */
const stride = 13;

interface Merged {
  /** What make.py calls it; the last adapter is the one whose merge was written down. */
  readonly adapters: readonly string[];
  readonly base: string;
}

const cases: readonly Merged[] = [
  { adapters: ['patterns'], base: 'families/llama' },
  { adapters: ['patterns', 'second'], base: 'families/llama' },
  { adapters: ['biases'], base: 'opt-variants/f16-bin' },
  { adapters: ['fused'], base: 'families/falcon-40b' },
  { adapters: ['untied'], base: 'families/qwen2' },
  { adapters: ['permuted'], base: 'gguf/llama' },
];

describe('merging', { concurrency: 1 }, () => {
  for (const { adapters, base } of cases) {
    const last = loraFixture(adapters.at(-1) ?? '');
    const lora = adapters.map(loraFixture);

    it(`${adapters.join(' and ')}: every tensor is PEFT's`, async () => {
      const expected = await openSafetensors(join(last, 'merged.safetensors'));
      const plain = await openCheckpoint(fixture(base));
      const { source } = await openAdapted(fixture(base), { lora });
      try {
        // A tied head is one tensor here, and PEFT's merge lists it twice.
        const changed = [...expected.tensors.keys()].filter((name) => source.tensors.has(name));
        assert.ok(changed.length >= expected.tensors.size - 1);
        for (const name of changed) {
          const values = await floats(tensorOf(source, name));
          const some = values.filter((_, index) => index % stride === 0);
          const error = relativeError(some, await floats(tensorOf(expected, name)));
          assert.ok(error <= 1e-6, `${name}: relative error ${error}`);
        }
        for (const [name, tensor] of plain.source.tensors) {
          if (changed.includes(name)) continue;
          assert.deepEqual(
            await readTensor(tensorOf(source, name)),
            await readTensor(tensor),
            name,
          );
        }
      } finally {
        await source.close();
        await plain.source.close();
        await expected.close();
      }
    });

    if (!existsSync(join(last, 'logits.f32'))) continue;
    it(`${adapters.join(' and ')}: the model's logits are PEFT's`, async () => {
      const output = join(root.directory(), 'model');
      const options = { checkpoint: fixture(base), output, lora, dramBudget: 2048 * MIB };
      await convertCheckpoint({ ...options, dtype: 'f32' });
      const expected = readFloats(join(last, 'logits.f32'));
      const { ids } = JSON.parse(readFileSync(join(fixture(base), 'reference.json'), 'utf8')) as {
        ids: number[];
      };
      await withSequence(output, 16 * MIB, { context: 24, logits: 'all' }, async (sequence) => {
        const error = relativeError(await sequence.logits(ids.slice(0, 6)), expected);
        assert.ok(error <= 1e-5, `relative error ${error}`);
      });
    });
  }

  it('a range of a tensor is that of the whole, however it is cut', async () => {
    const lora = ['patterns', 'second'].map(loraFixture);
    const { source } = await openAdapted(fixture('families/llama'), { lora });
    try {
      const dice = new Dice(1);
      for (const name of ['self_attn.q_proj', 'mlp.down_proj', 'mlp.up_proj']) {
        const tensor = tensorOf(source, `model.layers.1.${name}.weight`);
        const whole = await readTensor(tensor);
        const reads = Array.from({ length: 20 }, async () => {
          const start = dice.between(0, elementsOf(tensor) - 1);
          const count = dice.between(0, elementsOf(tensor) - start);
          const part = await readTensor(tensor, start, count);
          assert.deepEqual(part, whole.subarray(4 * start, 4 * (start + count)));
        });
        await Promise.all(reads);
      }
    } finally {
      await source.close();
    }
  });

  it('a GGUF and the checkpoint it was made from become one model', async () => {
    const lora = [loraFixture('permuted')];
    const [gguf, directory] = await Promise.all([
      openAdapted(fixture('gguf/llama/model.gguf'), { lora }),
      openAdapted(fixture('gguf/llama'), { lora }),
    ]);
    try {
      for (const [name, tensor] of directory.source.tensors) {
        const other = tensorOf(gguf.source, name);
        assert.deepEqual(await readTensor(other), await readTensor(tensor), name);
      }
    } finally {
      await gguf.source.close();
      await directory.source.close();
    }
  });

  it('a copy of a tied table changes with it', async () => {
    const base = root.directory();
    cpSync(fixture('families/falcon-40b'), base, { recursive: true });
    const weights = join(base, 'model.safetensors');
    const tensors = readSafetensors(weights);
    const [table = ''] = [...tensors.keys()].filter((name) => name.includes('word_embeddings'));
    tensors.set('lm_head.weight', tensors.get(table) ?? zeros(1));
    writeSafetensors(weights, tensors);
    const { source } = await openAdapted(base, { lora: [loraFixture('fused')] });
    try {
      const [head, embedding] = await Promise.all(
        ['lm_head.weight', table].map((name) => readTensor(tensorOf(source, name))),
      );
      assert.deepEqual(head, embedding);
    } finally {
      await source.close();
    }
  });

  it('keeps the dtype of the checkpoint', async () => {
    const output = join(root.directory(), 'model');
    const { dtypes, formats, adapters } = await convertCheckpoint({
      checkpoint: fixture('families/llama'),
      output,
      lora: [loraFixture('patterns')],
      dramBudget: 2048 * MIB,
    });
    assert.deepEqual(dtypes, { resident: 'f16', bundles: 'f16' });
    assert.deepEqual(Object.keys(formats), ['f16']);
    assert.deepEqual(adapters[0]?.ranks, [1, 5]);
    assert.equal(readSafetensors(join(output, 'resident.safetensors')).get('head')?.dtype, 'F16');
  });
});

/** A tensor that was replaced has the dtype of the adapter; those of fixtures are f32 or f16. */
async function floats(tensor: SourceTensor): Promise<Float32Array> {
  const data = await readTensor(tensor);
  const { data: bytes } =
    tensor.dtype === 'f16' ? tensorToF32({ dtype: 'F16', shape: tensor.shape, data }) : { data };
  return new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
}
