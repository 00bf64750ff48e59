/** Weights that stay in DRAM are packed, and laid out anew, where they can be; nobody is to see where. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { vocabSize, writeRandomModel } from '../support/random-model.ts';
import { temporaryRoot } from '../support/temporary.ts';
import { converted, withSequence } from './support.ts';

const MIB = 1024 * 1024;
const root = temporaryRoot();
const config = {
  model_type: 'opt',
  hidden_size: 72,
  word_embed_proj_dim: 72,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  ffn_dim: 160,
  max_position_embeddings: 64,
  activation_function: 'relu',
  do_layer_norm_before: true,
  tie_word_embeddings: true,
  torch_dtype: 'float16',
};
const ids = Array.from({ length: 20 }, (_, i) => (i * 311) % vocabSize);

/** Logits with everything in DRAM, and with nothing. */
async function logits(model: string): Promise<Float32Array[]> {
  const all: Float32Array[] = [];
  for (const residency of ['all', 'none'] as const) {
    const request = { context: 32, logits: 'all', residency } as const;
    all.push(await withSequence(model, 16 * MIB, request, (sequence) => sequence.logits(ids)));
  }
  return all;
}

test('resident weights give the logits of streamed ones, to the bit', async () => {
  const [resident, streamed] = await logits(
    await converted(root, writeRandomModel(root.directory(), config)),
  );
  assert.deepEqual(resident, streamed);
});

test('so do those of gated FFNs of several blocks, whose rows lie apart, and tokens one by one', async () => {
  const gated = {
    model_type: 'llama',
    hidden_size: 72,
    num_hidden_layers: 1,
    num_attention_heads: 6,
    num_key_value_heads: 2,
    // More than a block of one position has, and not a multiple of what lies together.
    intermediate_size: 4200,
    max_position_embeddings: 64,
    hidden_act: 'relu',
    rms_norm_eps: 1e-5,
    tie_word_embeddings: true,
    torch_dtype: 'float16',
  };
  for (const dtype of ['f16', 'q8'] as const) {
    const checkpoint = writeRandomModel(root.directory(), gated);
    const model = await converted(root, checkpoint, { dtype });
    const [resident, streamed] = await logits(model);
    assert.deepEqual(resident, streamed);
    const request = { context: 32 } as const;
    const single = await withSequence(model, 16 * MIB, request, async (sequence) => {
      const rows: number[] = [];
      for (const id of ids) rows.push(...(await sequence.forward([id])));
      return Float32Array.from(rows);
    });
    assert.deepEqual(single, resident);
  }
});

test('so do those of which some are too large to be packed', async () => {
  for (const name of ['embed_tokens', 'layers.1.self_attn.q_proj', 'layers.0.self_attn.out_proj']) {
    let places = 0;
    const checkpoint = writeRandomModel(root.directory(), config, 1, (tensors) => {
      for (const [full, { data }] of tensors) {
        if (!full.endsWith(`${name}.weight`)) continue;
        data.writeUInt16LE(0x5401, data.length - 10); // a little above 64
        places++;
      }
    });
    assert.equal(places, 1);
    const [resident, streamed] = await logits(await converted(root, checkpoint));
    assert.ok(resident?.every(Number.isFinite));
    assert.deepEqual(resident, streamed, name);
  }
});
