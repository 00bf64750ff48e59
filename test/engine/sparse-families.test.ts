/**
 * Generation with predictors in every kind of block that has exact zeros: gated or not, with biases,
 * attention before the FFN or beside it.
 */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { KvCache } from '../../src/engine/kv-cache.ts';
import type { RunRequest } from '../../src/engine/run-request.ts';
import { addPredictors, perfectPredictor } from '../support/predictors.ts';
import { writeRandomModel } from '../support/random-model.ts';
import { temporaryRoot } from '../support/temporary.ts';
import { addRandomPredictors, assertPerfect, assertSameBits } from './sparse-runs.ts';
import { converted, withSequence } from './support.ts';

const MIB = 1024 * 1024;
const root = temporaryRoot();

type Attend = Parameters<KvCache['attend']>;

const size = {
  hidden_size: 64,
  num_hidden_layers: 4,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  max_position_embeddings: 256,
  intermediate_size: 2100,
};
const falcon = {
  ...size,
  model_type: 'falcon',
  ffn_hidden_size: 2100,
  activation: 'relu',
  tie_word_embeddings: false,
};

const models: Record<string, Record<string, unknown>> = {
  'gated, with biases': { ...size, model_type: 'llama', hidden_act: 'relu', mlp_bias: true },
  'gated, with a threshold': {
    ...size,
    model_type: 'llama',
    hidden_act: 'fatrelu',
    hidden_act_param: 0.5,
  },
  'gated, ReLU on both': { ...size, model_type: 'bamboo', sliding_window: 40 },
  'squared ReLU': { ...size, model_type: 'persimmon' },
  'parallel, one norm': { ...falcon, multi_query: true },
  'parallel, two norms': { ...falcon, new_decoder_architecture: true, num_kv_heads: 2 },
  'parallel, with biases': { ...size, model_type: 'phi', hidden_act: 'relu' },
};

const variants: [number, Partial<RunRequest>][] = [
  [4.3 * MIB, {}],
  [3.9 * MIB, {}],
  [3.9 * MIB, { window: 5 }],
  [3.9 * MIB, { chunk: 5 }],
  [40 * MIB, { threads: 2 }],
  [28 * MIB, { threads: 2, chunk: 8 }],
  [9.4 * MIB, { memoryLimit: 5.2 * MIB, chunk: 8 }],
];

for (const [name, config] of Object.entries(models)) {
  test(`${name}: only what is not predicted is left out, and to the bit the same everywhere`, async () => {
    const checkpoint = writeRandomModel(root.directory(), config);
    const perfect = await converted(root, checkpoint);
    await addPredictors(perfect, (layer, manifest) => perfectPredictor(perfect, layer, manifest));
    await assertPerfect(perfect, 0.3);

    await addRandomPredictors(perfect, 2);
    const { partial, arenas } = await assertSameBits(perfect, variants);
    assert.ok(partial >= 3, `${partial} variants read neurons while decoding`);
    assert.ok(arenas >= 1, `${arenas} variants used several memories`);

    const dense = await assertSameBits(perfect, variants, { ffn: 'exact' });
    assert.ok(dense.partial >= 3 && dense.arenas >= 1, JSON.stringify(dense));
  });
}

test('activations that are normed and rounded as one row: the same bits wherever neurons lie', async () => {
  const ternary = {
    ...size,
    model_type: 'bitnet',
    quantization_config: {
      quant_method: 'bitnet',
      linear_class: 'autobitlinear',
      quantization_mode: 'online',
    },
  };
  // A sum that differs in its last bit may round otherwise behind the next norm: one layer, no next one.
  const shallow = writeRandomModel(root.directory(), { ...ternary, num_hidden_layers: 1 });
  const perfect = await converted(root, shallow, { dtype: 'f16' });
  await addPredictors(perfect, (layer, manifest) => perfectPredictor(perfect, layer, manifest));
  await assertPerfect(perfect, 0.3);

  const model = await converted(root, writeRandomModel(root.directory(), ternary));
  await addRandomPredictors(model, 2);
  const sparse = await assertSameBits(model, variants);
  const some = variants.filter((_, index) => index % 3 === 0);
  const dense = await assertSameBits(model, some, { ffn: 'exact' });
  for (const [least, { partial, arenas }] of [
    [3, sparse],
    [2, dense],
  ] as const) {
    assert.ok(
      partial >= least && arenas >= 1,
      `${partial} variants read, ${arenas} in several memories`,
    );
  }
});

for (const [name, ids, expected] of [
  ['parallel, two norms', [1, 300, 400], ['read', 'attend']],
  ['gated, with biases', [1, 300, 400], ['attend', 'read']],
  // A token's neurons are guessed; what the guess did not find is read when it is known.
  ['gated, with biases', [500], ['read', 'attend']],
] as const) {
  const when = expected[0] === 'read' ? 'before' : 'after';
  test(`${name}: reads for ${ids.length} positions begin ${when} attention`, async (t) => {
    const checkpoint = writeRandomModel(root.directory(), models[name] ?? {});
    const model = await converted(root, checkpoint);
    await addRandomPredictors(model, -1);
    const events: string[] = [];
    const request = { context: 64 };
    await withSequence(model, 3.9 * MIB, request, async (sequence) => {
      const { files } = sequence.runtime.model;
      const { attend } = KvCache.prototype;
      const { requestScattered } = files;
      t.mock.method(KvCache.prototype, 'attend', function (this: KvCache, ...call: Attend) {
        events.push('attend');
        attend.apply(this, call);
      });
      t.mock.method(files, 'requestScattered', (...call: Parameters<typeof requestScattered>) => {
        if (call[1].rows.length > 0) events.push('read');
        return requestScattered.apply(files, call);
      });
      await sequence.forward(ids);
    });
    // Each layer reads in one or more parts.
    const order = events.filter((event, i) => event !== events[i - 1]);
    if (ids.length === 1 && order.at(-1) === 'read') order.pop();
    assert.deepEqual(order, Array.from({ length: 4 }, () => expected).flat());
  });
}

test('without exact zeros every neuron is computed, and to the bit the same everywhere', async () => {
  const config = { ...size, model_type: 'llama' };
  const model = await converted(root, writeRandomModel(root.directory(), config));
  const { partial, arenas } = await assertSameBits(model, variants);
  assert.ok(partial >= 3, `${partial} variants read weights while decoding`);
  assert.ok(arenas >= 1, `${arenas} variants used several memories`);
});
