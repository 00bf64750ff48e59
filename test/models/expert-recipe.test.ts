/** Where the rows of experts are, in each form of checkpoint. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { recipeOf } from '../../src/models/index.ts';
import type { ExpertRecipe, TensorPart } from '../../src/models/spec.ts';

const config = {
  model_type: 'qwen3_moe',
  hidden_size: 32,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  num_hidden_layers: 1,
  intermediate_size: 48,
  num_experts: 4,
  num_experts_per_tok: 2,
  moe_intermediate_size: 20,
  vocab_size: 100,
};
const prefix = 'model.layers.0.mlp.experts';

/** The third expert, where the checkpoint has these names below those of experts. */
function third(names: readonly string[]): ExpertRecipe {
  const sourceNames = new Set(names.map((name) => `${prefix}.${name}`));
  const { experts } = recipeOf({ config, configFile: 'config.json', sourceNames });
  const found = experts[0]?.experts[2];
  assert.ok(found !== undefined);
  return found;
}

const part = (name: string, shape: number[], first: number, count: number): TensorPart => ({
  source: `${prefix}.${name}`,
  shape,
  rows: { first, count },
});

test('each expert in tensors of its own, also where no name is known', () => {
  for (const names of [[], ['2.up_proj.weight']]) {
    assert.deepEqual(third(names), {
      gate: { source: `${prefix}.2.gate_proj.weight`, shape: [20, 32] },
      up: { source: `${prefix}.2.up_proj.weight`, shape: [20, 32] },
      down: { source: `${prefix}.2.down_proj.weight`, shape: [32, 20] },
    });
  }
});

for (const suffix of ['', '.weight']) {
  test(`all in one tensor for each part, called up_proj${suffix}`, () => {
    const names = ['gate_proj', 'up_proj', 'down_proj'].map((name) => name + suffix);
    assert.deepEqual(third(names), {
      gate: part(`gate_proj${suffix}`, [4, 20, 32], 40, 20),
      up: part(`up_proj${suffix}`, [4, 20, 32], 40, 20),
      down: part(`down_proj${suffix}`, [4, 32, 20], 64, 32),
    });
  });

  test(`gate and up rows in one, called gate_up_proj${suffix}`, () => {
    const names = ['gate_up_proj', 'down_proj'].map((name) => name + suffix);
    assert.deepEqual(third(names), {
      gate: part(`gate_up_proj${suffix}`, [4, 40, 32], 80, 20),
      up: part(`gate_up_proj${suffix}`, [4, 40, 32], 100, 20),
      down: part(`down_proj${suffix}`, [4, 32, 20], 64, 32),
    });
  });
}

test('more experts than any model has are refused before they are listed', () => {
  const facts = { configFile: 'config.json', sourceNames: new Set<string>() };
  const huge = { ...config, num_hidden_layers: 1024, num_experts: 4096, num_key_value_heads: 1 };
  assert.throws(() => recipeOf({ ...facts, config: huge }), /1024 layers of 4096 experts are too/);
});
