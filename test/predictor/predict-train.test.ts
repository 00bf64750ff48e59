/** Training over blocks of every kind: what is learned is what the neurons did. */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { Model } from '../../src/engine/model.ts';
import { processEstimate } from '../../src/plan/process.ts';
import { predictTrain } from '../../src/predictor/predict-train.ts';
import { converted, withSequence } from '../engine/support.ts';
import { validText } from '../support/fixtures.ts';
import { writeRandomModel } from '../support/random-model.ts';
import { temporaryRoot } from '../support/temporary.ts';

const MIB = 1024 * 1024;
const root = temporaryRoot();
const text = readFileSync(validText, 'utf8').slice(0, 12_000);

const size = {
  hidden_size: 32,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  max_position_embeddings: 64,
  intermediate_size: 200,
};
/** Of rank 32, predictors of these models can be exact but for what 4 bits lose. */
const models: Record<string, Record<string, unknown>> = {
  gated: { ...size, model_type: 'llama', hidden_act: 'relu', mlp_bias: true },
  'gated, with a threshold': {
    ...size,
    model_type: 'llama',
    hidden_act: 'fatrelu',
    hidden_act_param: 1,
  },
  'gated, ReLU on both': { ...size, model_type: 'bamboo' },
  'squared ReLU': { ...size, model_type: 'arcee' },
  parallel: { ...size, model_type: 'falcon', ffn_hidden_size: 200, activation: 'relu' },
};

async function train(config: Record<string, unknown>) {
  const dir = await converted(root, writeRandomModel(root.directory(), config));
  const model = await Model.open(dir);
  try {
    const budget = processEstimate(model.manifest) + 256 * MIB;
    const request = { budget, documents: [text], corpus: 'text', threads: 1 };
    return { dir, report: await predictTrain(model, { ...request, rank: 32, maxTokens: 2000 }) };
  } finally {
    model.close();
  }
}

for (const [name, config] of Object.entries(models)) {
  test(`${name}: predictors keep what matters`, async () => {
    const { dir, report } = await train(config);
    assert.equal(report.layers.length, 2);
    for (const layer of report.layers) {
      assert.ok(layer.used, JSON.stringify(layer));
      assert.ok(layer.mass > 0.97, JSON.stringify(layer));
      assert.ok(layer.precision > 0.4, JSON.stringify(layer));
      assert.ok(layer.predicted < 0.7, JSON.stringify(layer));
      // What fires is told by the gate, or the up row: about half, less where it takes more.
      assert.ok(layer.sparsity > 0.3 && layer.sparsity < 0.95, JSON.stringify(layer));
    }
    await withSequence(dir, 16 * MIB, { context: 64 }, async (sequence) => {
      assert.ok(sequence.runtime.plan.sparse !== null);
      const run = sequence.runtime.stats.begin();
      await sequence.forward([1, 300, 400, 500]);
      const { ffnSparsity } = run.snapshot(4, 0);
      assert.ok(ffnSparsity > 0.3, `sparsity ${ffnSparsity}`);
    });
  });
}

test('a model without exact zeros is told so, and left alone', async () => {
  await assert.rejects(train({ ...size, model_type: 'llama' }), {
    name: 'InputError',
    line: /its FFNs use silu, where no neuron is ever exactly 0.*without predictors, the model computes every neuron/,
  });
});
