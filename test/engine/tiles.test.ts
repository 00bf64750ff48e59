/** Models whose FFNs are cut into tiles give what those of single neurons give. */

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { convertCheckpoint } from '../../src/convert/convert.ts';
import type { TargetFormat } from '../../src/convert/target-formats.ts';
import { Model } from '../../src/engine/model.ts';
import type { RunRequest } from '../../src/engine/run-request.ts';
import { predictTrain } from '../../src/predictor/predict-train.ts';
import { vocabSize, writeRandomModel } from '../support/random-model.ts';
import { temporaryRoot } from '../support/temporary.ts';
import { assertSameBits } from './sparse-runs.ts';
import { relativeError, withSequence } from './support.ts';

const MIB = 1024 * 1024;
const root = temporaryRoot();
const size = {
  hidden_size: 64,
  num_hidden_layers: 6,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  max_position_embeddings: 256,
  intermediate_size: 2112,
};

const models: Record<string, { config: Record<string, unknown>; tile: number }> = {
  'OPT, with biases': {
    config: { ...size, model_type: 'opt', ffn_dim: 2112, word_embed_proj_dim: 64 },
    tile: 64,
  },
  'gated, SiLU': { config: { ...size, model_type: 'llama' }, tile: 192 },
  'gated, with biases': {
    config: { ...size, model_type: 'llama', hidden_act: 'relu', mlp_bias: true },
    tile: 1056,
  },
  'one tile wider than a block': { config: { ...size, model_type: 'persimmon' }, tile: 2112 },
};

async function convertedAs(
  checkpoint: string,
  dtype: TargetFormat,
  tile?: number,
): Promise<string> {
  const output = join(root.directory(), 'model');
  const cut = tile === undefined ? {} : { tile };
  await convertCheckpoint({ checkpoint, output, dtype, dramBudget: 2048 * MIB, ...cut });
  return output;
}

const ids = Array.from({ length: 40 }, (_, i) => (i * 311) % vocabSize);

const logits = (model: string) =>
  withSequence(model, 64 * MIB, { context: 64, logits: 'all' }, (sequence) => sequence.logits(ids));

const variants: [number, Partial<RunRequest>][] = [
  [5 * MIB, {}],
  [64 * MIB, { residency: 'none' }],
  [64 * MIB, { residency: 'none', chunk: 5, threads: 2 }],
  [40 * MIB, { threads: 2 }],
  [32 * MIB, { memoryLimit: 4 * MIB, chunk: 8 }],
];

for (const [name, { config, tile }] of Object.entries(models)) {
  test(`${name}: tiles of ${tile} give the same up to rounding, and the same bits everywhere`, async () => {
    const checkpoint = writeRandomModel(root.directory(), config);
    for (const dtype of ['f32', 'f16'] as const) {
      const neurons = await logits(await convertedAs(checkpoint, dtype));
      const tiled = await convertedAs(checkpoint, dtype, tile);
      const error = relativeError(await logits(tiled), neurons);
      assert.ok(error < 1e-5, `relative error ${error}`);
      if (dtype === 'f32') continue;
      const { partial, arenas } = await assertSameBits(tiled, variants);
      assert.ok(partial >= 2, `${partial} variants read weights while decoding`);
      assert.ok(arenas >= 1, `${arenas} variants used several memories`);
    }
  });
}

test('quantised tiles: down rows in blocks along the neurons', async () => {
  const checkpoint = writeRandomModel(root.directory(), { ...size, model_type: 'llama' });
  const exact = await logits(await convertedAs(checkpoint, 'f32'));
  const neurons = relativeError(await logits(await convertedAs(checkpoint, 'q8')), exact);
  const tiles = relativeError(await logits(await convertedAs(checkpoint, 'q8', 192)), exact);
  assert.ok(tiles < 2 * neurons, `an error of ${tiles} where neurons have ${neurons}`);
  await assert.rejects(convertedAs(checkpoint, 'q8', 48), /tiles of 48.*multiple of 32/);
  await assert.rejects(convertedAs(checkpoint, 'f16', 100), /tiles of 100/);
});

test('predictors choose single neurons: those of tiles cannot be trained', async () => {
  for (const [activation, why] of [
    ['relu', /not stored as single neurons/],
    ['silu', /silu, where no neuron is ever exactly 0/],
  ] as const) {
    const checkpoint = writeRandomModel(root.directory(), {
      ...size,
      model_type: 'llama',
      hidden_act: activation,
    });
    const model = await Model.open(await convertedAs(checkpoint, 'f16', 64));
    try {
      const request = { budget: 2048 * MIB, documents: ['a'], corpus: 'text', threads: 1 };
      await assert.rejects(predictTrain(model, request), why);
    } finally {
      model.close();
    }
  }
});
