/** A GGUF is taken for the checkpoint it was made from: the same tensors, value for value. */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { openSafetensors } from '../../src/checkpoint/safetensors.ts';
import { openCheckpoint } from '../../src/convert/open-checkpoint.ts';
import { readTensor } from '../checkpoint/helpers.ts';
import { ggufCheckpoints, ggufFixtures } from '../support/fixtures.ts';
import { Dice } from '../support/random.ts';

/**
 * Fields whose values differ from the checkpoint's and mean the same: what a format does not say is
 * left to the family's default, and transformers has newer names for some.
 */
function meaning(config: Record<string, unknown>): Record<string, unknown> {
  const { rope_parameters: rope, rope_theta: theta, rope_scaling: scaling, ...rest } = config;
  const parameters = (rope ?? { rope_theta: theta, ...((scaling as object) ?? {}) }) as Record<
    string,
    unknown
  >;
  const { type: _, rope_type = 'default', partial_rotary_factor, ...others } = parameters;
  return {
    ...rest,
    partial_rotary_factor: rest.partial_rotary_factor ?? partial_rotary_factor,
    rope: { ...others, rope_type },
  };
}

describe('GGUF as a checkpoint', { concurrency: 1 }, () => {
  for (const folder of ggufCheckpoints) {
    const dir = join(ggufFixtures, folder);

    it(`${folder}: has the checkpoint's tensors`, async () => {
      const expected = await openSafetensors(join(dir, 'model.safetensors'));
      const { source } = await openCheckpoint(join(dir, 'model.gguf'));
      try {
        assert.deepEqual([...source.tensors.keys()].sort(), [...expected.tensors.keys()].sort());
        const dice = new Dice(1);
        for (const [name, tensor] of source.tensors) {
          const other = expected.tensors.get(name);
          assert.ok(other !== undefined);
          assert.deepEqual(tensor.shape, other.shape, name);
          assert.equal(tensor.dtype, other.dtype, name);
          const whole = await readTensor(other);
          const found = await readTensor(tensor);
          if (folder === 'nemotron' && /norm\.weight$/.test(name)) closeTo(found, whole);
          else assert.deepEqual(found, whole, name);
          const bytes = tensor.dtype === 'f32' ? 4 : 2;
          for (let i = 0; i < 20; i++) {
            const elements = found.length / bytes;
            const start = dice.between(0, elements - 1);
            const count = dice.between(0, elements - start);
            const part = found.subarray(start * bytes, (start + count) * bytes);
            assert.deepEqual(await readTensor(tensor, start, count), part, name);
          }
        }
      } finally {
        await expected.close();
        await source.close();
      }
    });

    it(`${folder}: says what its config.json says`, async () => {
      const original = JSON.parse(readFileSync(join(dir, 'config.json'), 'utf8'));
      const { source, config } = await openCheckpoint(join(dir, 'model.gguf'));
      await source.close();
      const expected = meaning(original);
      const found = meaning(config);
      // The format's converter writes 2048 for this family, whatever the model says.
      if (folder.startsWith('falcon')) expected.max_position_embeddings = 2048;
      if (folder === 'falcon') expected.num_kv_heads = 1; // what multi_query means
      if (folder.startsWith('falcon')) {
        const two = folder === 'falcon-grouped';
        expected.num_ln_in_parallel_attn = two ? 2 : 1; // null: by the architecture
        if (two) expected.multi_query = false; // not looked at in the new architecture
      }
      for (const [key, value] of Object.entries(found)) {
        if (value !== undefined && key in expected) assert.deepEqual(value, expected[key], key);
      }
      for (const key of ['hidden_size', 'vocab_size', 'num_hidden_layers', 'rope', 'model_type']) {
        assert.ok(key in found, key);
      }
    });
  }
});

/** 1 was added to these and rounded: what was lost is lost. */
function closeTo(found: Buffer, expected: Buffer): void {
  for (let at = 0; at < expected.length; at += 4) {
    const difference = Math.abs(found.readFloatLE(at) - expected.readFloatLE(at));
    assert.ok(difference <= 2 ** -24, `byte ${at}`);
  }
}
