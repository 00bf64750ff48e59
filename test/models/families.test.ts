/** What families make of configurations: published forms, and those that cannot be run. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { recipeOf } from '../../src/models/index.ts';
import type { ModelRecipe } from '../../src/models/spec.ts';

const size = {
  vocab_size: 100,
  hidden_size: 32,
  num_hidden_layers: 4,
  num_attention_heads: 4,
  intermediate_size: 48,
  max_position_embeddings: 64,
};

function recipe(config: Record<string, unknown>): ModelRecipe {
  return recipeOf({ config, configFile: 'config.json', sourceNames: new Set() });
}

const spec = (config: Record<string, unknown>) => recipe({ ...size, ...config }).spec;

test('rotary scalings are read from both forms of configuration', () => {
  const older = spec({
    model_type: 'llama',
    rope_theta: 500_000,
    rope_scaling: {
      rope_type: 'llama3',
      factor: 8,
      low_freq_factor: 1,
      high_freq_factor: 4,
      original_max_position_embeddings: 32,
    },
  });
  const newer = spec({
    model_type: 'llama',
    rope_parameters: {
      rope_type: 'llama3',
      rope_theta: 500_000,
      factor: 8,
      low_freq_factor: 1,
      high_freq_factor: 4,
      original_max_position_embeddings: 32,
    },
  });
  assert.deepEqual(newer, older);
  assert.deepEqual(older.positions, {
    kind: 'rotary',
    theta: 500_000,
    dims: 8,
    pairs: 'halves',
    scaling: { kind: 'llama3', factor: 8, trained: 32, lowFactor: 1, highFactor: 4 },
  });
  assert.equal(older.maxPositions, 64);
});

test('a stretched model has as many positions as it is stretched to', () => {
  const scaled = (rope_scaling: unknown) =>
    spec({ model_type: 'llama', rope_scaling }).maxPositions;
  assert.equal(scaled(null), 64);
  assert.equal(scaled({ type: 'linear', factor: 2.5 }), 160);
  assert.equal(scaled({ type: 'dynamic', factor: 4 }), 256);
  assert.equal(scaled({ type: 'yarn', factor: 4, original_max_position_embeddings: 32 }), 128);
});

test('windows are told by layer, and only where they are used', () => {
  const windows = (config: Record<string, unknown>) => spec(config).attention.windows;
  const qwen = { model_type: 'qwen2', sliding_window: 7, max_window_layers: 3 };
  assert.deepEqual(windows({ ...qwen, use_sliding_window: false }), []);
  assert.deepEqual(windows({ ...qwen, use_sliding_window: true }), [null, null, null, 7]);
  const layer_types = ['sliding_attention', 'full_attention', 'full_attention', 'full_attention'];
  assert.deepEqual(windows({ ...qwen, use_sliding_window: true, layer_types }), [
    7,
    null,
    null,
    null,
  ]);
  assert.deepEqual(windows({ model_type: 'mistral', sliding_window: 9 }), [9, 9, 9, 9]);
  assert.deepEqual(windows({ model_type: 'mistral', sliding_window: null }), []);
});

test('a fused projection is taken apart by rows, whatever the grouping', () => {
  const rows = (config: Record<string, unknown>) =>
    recipe({ ...size, ...config })
      .tensors.find(({ name }) => name === 'layers.0.attention.qkv.weight')
      ?.parts.map(({ rows: range }) => [range?.first, range?.count]);
  // 4 query heads of 8 for one of keys and values; two groups of 2; each with its own.
  assert.deepEqual(rows({ model_type: 'falcon' }), [
    [0, 32],
    [32, 8],
    [40, 8],
  ]);
  assert.deepEqual(
    rows({ model_type: 'falcon', new_decoder_architecture: true, num_kv_heads: 2 }),
    [
      [0, 16],
      [32, 16],
      [16, 8],
      [48, 8],
      [24, 8],
      [56, 8],
    ],
  );
  assert.deepEqual(rows({ model_type: 'persimmon' })?.slice(0, 2), [
    [0, 8],
    [24, 8],
  ]);
});

const refused: [string, Record<string, unknown>, RegExp][] = [
  [
    'a scaling',
    { rope_scaling: { type: 'stretched' } },
    /scaling "stretched" is not supported.*yarn/,
  ],
  ['a scaling without its factor', { rope_scaling: { type: 'linear' } }, /'factor' is missing/],
  [
    'a negative factor',
    { rope_scaling: { type: 'linear', factor: -2 } },
    /'factor' is not above 0/,
  ],
  ['a scaling that is no object', { rope_scaling: 4 }, /'rope_scaling' is not an object/],
  ['half a pair', { head_dim: 7 }, /7 dimensions.*even number/],
  [
    'uneven groups',
    { num_key_value_heads: 3 },
    /number of query heads, 4, is not a multiple of the number of KV heads, 3/,
  ],
  ['an activation', { hidden_act: 'mish' }, /hidden_act 'mish' is not supported.*fatrelu/],
  ['heads that do not divide', { num_attention_heads: 5 }, /hidden_size 32 is not a multiple/],
  ['an epsilon of 0', { rms_norm_eps: 0 }, /'rms_norm_eps' is not above 0/],
  [
    'a layout of too few layers',
    { model_type: 'smallthinker', rope_layout: [1, 0, 1] },
    /'rope_layout' is not a list of 4 values that are 0 or 1: \[1,0,1\]/,
  ],
  [
    'SmallThinker with layers that have no experts',
    { model_type: 'smallthinker', moe_layer_layout: [0, 1, 1, 1] },
    /'moe_layer_layout' has layers without experts/,
  ],
  [
    'SmallThinker with experts of experts',
    { model_type: 'smallthinker', moe_enable_secondary_experts: true },
    /'moe_enable_secondary_experts' is true, which is not supported/,
  ],
];

for (const [name, config, line] of refused) {
  test(`${name} is refused with what is wrong`, () => {
    assert.throws(() => spec({ model_type: 'llama', ...config }), { name: 'InputError', line });
  });
}
