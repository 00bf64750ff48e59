/** Configurations as released models have them, shortened to what decides. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { InputError } from '../../src/errors.ts';
import { recipeOf } from '../../src/models/index.ts';
import { textName, textPart } from '../../src/models/text-part.ts';

type Json = Readonly<Record<string, unknown>>;

const recipe = (config: Json, names: readonly string[] = []) =>
  recipeOf({ config, configFile: 'config.json', sourceNames: new Set(names) });
const specOf = (config: Json) => recipe(config).spec;

const bitnet = {
  model_type: 'bitnet',
  hidden_act: 'relu2',
  hidden_size: 2560,
  intermediate_size: 6912,
  num_attention_heads: 20,
  num_hidden_layers: 30,
  num_key_value_heads: 5,
  max_position_embeddings: 4096,
  rms_norm_eps: 1e-5,
  rope_theta: 500_000,
  tie_word_embeddings: true,
  vocab_size: 128_256,
};
const autoBitLinear = { quant_method: 'bitnet', linear_class: 'autobitlinear' };

test('BitNet b1.58 2B4T, packed and in bf16', () => {
  for (const quantization_mode of ['offline', 'online']) {
    const quantization_config = { ...autoBitLinear, quantization_mode };
    const { attention, ffn, inputBits } = specOf({ ...bitnet, quantization_config });
    assert.deepEqual(
      [attention.innerNorm, attention.headDim, ffn.innerNorm, ffn.activation, inputBits],
      [true, 128, true, 'relu2', 8],
    );
  }
  assert.equal(specOf(bitnet).inputBits, undefined);
});

for (const [what, message] of [
  [{ use_rms_norm: true }, /a norm in every matrix/],
  [{ linear_class: 'other' }, /linear_class 'other'/],
  [{ quantization_mode: 'other' }, /quantization_mode 'other'/],
  [{ modules_to_not_convert: ['model.layers.0.mlp.up_proj'] }, /leaves matrices out/],
] as const) {
  test(`ternary weights of another form are refused: ${JSON.stringify(what)}`, () => {
    const quantization_config = { ...autoBitLinear, ...what };
    assert.throws(
      () => specOf({ ...bitnet, quantization_config }),
      (error) => {
        return error instanceof InputError && message.test(error.message);
      },
    );
  });
}

test('a Llama with ternary weights rounds its inputs, and leaves its head as it is', () => {
  const { spec } = recipe({
    ...bitnet,
    model_type: 'llama',
    hidden_act: 'silu',
    quantization_config: { quant_method: 'bitnet', modules_to_not_convert: null },
  });
  assert.equal(spec.inputBits, 8);
  assert.equal(spec.ffn.innerNorm, undefined);
});

test('TurboSparse-Mistral-Instruct is a Bamboo', () => {
  const { attention, ffn, positions } = specOf({
    architectures: ['BambooForCausalLM'],
    model_type: 'bamboo',
    hidden_act: 'relu',
    hidden_size: 4096,
    intermediate_size: 14_336,
    max_position_embeddings: 32_768,
    num_attention_heads: 32,
    num_hidden_layers: 32,
    num_key_value_heads: 8,
    rms_norm_eps: 1e-5,
    rope_theta: 10_000,
    sliding_window: 4096,
    vocab_size: 32_064,
  });
  assert.deepEqual([ffn.activation, ffn.gate, attention.windows[31]], ['relu', 'both', 4096]);
  assert.equal(positions.kind === 'rotary' && positions.theta, 10_000);
});

test('a relufied Falcon-40B has two norms, grouped queries and four times its width in neurons', () => {
  for (const names of [
    { n_layer: 60, n_head: 128, n_head_kv: 8, model_type: 'RefinedWeb' },
    {
      num_hidden_layers: 60,
      num_attention_heads: 128,
      num_kv_heads: 8,
      model_type: 'falcon',
      new_decoder_architecture: true,
    },
  ]) {
    const { attention, ffn, norm, block } = specOf({
      ...names,
      hidden_act: 'relu',
      hidden_size: 8192,
      layer_norm_epsilon: 1e-5,
      vocab_size: 65_024,
    });
    assert.deepEqual(
      [block, norm.shared, attention.heads, attention.kvHeads, ffn.neurons, ffn.activation],
      ['parallel', false, 128, 8, 32_768, 'relu'],
    );
  }
});

test('Baichuan 2: the smaller one turns queries and keys, the larger one has slopes', () => {
  const common = {
    model_type: 'baichuan',
    hidden_act: 'silu',
    rms_norm_eps: 1e-6,
    vocab_size: 125_696,
    model_max_length: 4096,
    tie_word_embeddings: false,
  };
  const small = recipe({
    ...common,
    hidden_size: 4096,
    intermediate_size: 11_008,
    num_attention_heads: 32,
    num_hidden_layers: 32,
    max_position_embeddings: 4096,
  });
  const large = recipe({
    ...common,
    hidden_size: 5120,
    intermediate_size: 13_696,
    num_attention_heads: 40,
    num_hidden_layers: 40,
  });
  assert.deepEqual(
    [small, large].map(({ spec }) => [spec.positions.kind, spec.maxPositions]),
    [
      ['rotary', 4096],
      ['alibi', 4096],
    ],
  );
  for (const { views } of [small, large]) {
    assert.ok([...views.values()].some(({ unitRows }) => unitRows === true));
  }
  const first = recipe({
    ...common,
    vocab_size: 64_000,
    hidden_size: 4096,
    intermediate_size: 11_008,
    num_attention_heads: 32,
    num_hidden_layers: 32,
  });
  assert.equal(first.views.size, 0);
});

test('Gemma 3 4B: what its text leaves out is that of its family', () => {
  const text = textPart({
    model_type: 'gemma3',
    eos_token_id: [1, 106],
    text_config: {
      hidden_size: 2560,
      intermediate_size: 10_240,
      model_type: 'gemma3_text',
      num_hidden_layers: 34,
      rope_scaling: { factor: 8, rope_type: 'linear' },
      sliding_window: 1024,
    },
    vision_config: { model_type: 'siglip_vision_model' },
  });
  const { attention, positions, vocabSize, eosIds, tiedHead } = specOf(text ?? {});
  assert.deepEqual([attention.heads, attention.kvHeads, attention.headDim], [8, 4, 256]);
  assert.deepEqual([vocabSize, eosIds, tiedHead], [262_208, [1, 106], true]);
  assert.deepEqual(positions.kind === 'rotary' && positions.scaling, { kind: 'linear', factor: 8 });
});

test('Qwen2.5-VL has the fields of its text among those of the whole', () => {
  const text = textPart({
    model_type: 'qwen2_5_vl',
    hidden_act: 'silu',
    hidden_size: 3584,
    intermediate_size: 18_944,
    num_attention_heads: 28,
    num_hidden_layers: 28,
    num_key_value_heads: 4,
    rope_scaling: { type: 'mrope', mrope_section: [16, 24, 24] },
    rope_theta: 1_000_000,
    use_sliding_window: false,
    vocab_size: 152_064,
    vision_config: { depth: 32, hidden_size: 1280 },
  });
  const { positions, family } = specOf(text ?? {});
  assert.equal(family, 'qwen2');
  assert.deepEqual(positions.kind === 'rotary' && [positions.theta, positions.scaling.kind], [
    1_000_000,
    'none',
  ]);
});

test('a whole whose text is of no supported family stays as it is, to be refused', () => {
  const config = { model_type: 'mistral3', text_config: { model_type: 'other' } };
  assert.equal(textPart(config), null);
  assert.throws(() => recipe(config), /model_type 'mistral3' is not supported/);
});

test('tensors of a text are found under the names of either form of a whole', () => {
  assert.deepEqual(
    [
      'language_model.model.layers.0.mlp.up_proj.weight',
      'model.language_model.layers.0.mlp.up_proj.weight',
      'language_model.lm_head.weight',
      'model.layers.0.mlp.up_proj.weight',
      'vision_tower.patch.weight',
    ].map(textName),
    [
      'model.layers.0.mlp.up_proj.weight',
      'model.layers.0.mlp.up_proj.weight',
      'lm_head.weight',
      'model.layers.0.mlp.up_proj.weight',
      'vision_tower.patch.weight',
    ],
  );
});

test('Qwen3.5 is refused by the layers that keep a state', () => {
  const config = { model_type: 'qwen3_5', text_config: { model_type: 'qwen3_5_text' } };
  const names = ['model.language_model.layers.0.linear_attn.A_log'];
  assert.throws(
    () => recipe(config, names),
    /'qwen3_5' is not supported; it has layers that keep a recurrent state/,
  );
});
