/** Oddities of what a checkpoint says of itself: head, quantisation, sizes, names. */

import {
  adding,
  all,
  config,
  file,
  i32,
  method,
  type Oddity,
  packed,
  tensors,
  u8,
  zeros,
} from './odd-changes.ts';

export const heads: readonly Oddity[] = [
  {
    name: 'a tied head with a copy of the embedding',
    change: all(
      config({ tie_word_embeddings: true }),
      tensors((some) => {
        const embedding = some.get('model.embed_tokens.weight');
        if (embedding !== undefined) some.set('lm_head.weight', embedding);
      }),
    ),
    becomes: 'runs',
  },
  {
    name: 'a tied head with one of its own',
    change: config({ tie_word_embeddings: true }),
    becomes: 'same',
    note: /config\.json ties the head.*lm_head\.weight holds other values/,
  },
  {
    name: 'a head of its own that is not there',
    change: tensors((some) => void some.delete('lm_head.weight')),
    becomes: /has no tensor lm_head\.weight/,
  },
  {
    name: 'nothing said of the head, which is not there',
    change: all(
      config({ tie_word_embeddings: undefined }),
      tensors((some) => void some.delete('lm_head.weight')),
    ),
    becomes: /has no tensor lm_head\.weight/,
  },
  {
    name: 'nothing said of the head, which is there',
    change: config({ tie_word_embeddings: undefined }),
    becomes: 'same',
  },
  {
    name: 'the embedding under the name of a head that is not tied',
    change: tensors((some) => void some.delete('model.embed_tokens.weight')),
    becomes: /has no tensor model\.embed_tokens\.weight/,
  },
];

export const quantised: readonly Oddity[] = [
  ...['gptq', 'awq', 'bitsandbytes', 'fbgemm_fp8', 'fp8', 'compressed-tensors', 'hqq', 'eetq']
    .concat(['quanto', 'torchao', 'aqlm', 'vptq', 'spqr', 'exl2', 'exl3', 'constructor'])
    .map((name) => ({
      name: `quant_method ${name}`,
      change: method(name),
      becomes: new RegExp(
        `config\\.json: the weights are quantised with ${name}: not supported\\. Use a GGUF file`,
      ),
    })),
  {
    name: 'a quantization_config of bitsandbytes without its name',
    change: config({ quantization_config: { load_in_4bit: true } }),
    becomes: /quantised with bitsandbytes: not supported/,
  },
  {
    name: 'a quantization_config of MLX, under both of its keys',
    change: config({
      quantization: { group_size: 64, bits: 4 },
      quantization_config: { group_size: 64, bits: 4 },
    }),
    becomes: /quantised with MLX: not supported/,
  },
  {
    name: 'a quantization_config that is too strange to name',
    change: config({ quantization_config: { quant_method: ['x'.repeat(5000)] } }),
    becomes: /quantised with a method that is not named: not supported/,
  },
  {
    name: 'ternary weights without their scales',
    change: method('bitnet'),
    becomes: /has no scale beside it, although the configuration says that weights are ternary/,
  },
  {
    name: 'a family of its own for quantised weights',
    change: config({ model_type: 'aqlm', quantization_config: { quant_method: 'aqlm' } }),
    becomes: /model_type 'aqlm' is not supported; in addition, the weights are quantised with aqlm/,
  },
  {
    name: 'a quantization_config of nothing',
    change: config({ quantization_config: {}, quantization: null, compression_config: null }),
    becomes: 'same',
  },
  {
    name: 'quantize_config.json beside GPTQ weights',
    change: all(
      file('quantize_config.json', { bits: 4, group_size: 128, desc_act: false }),
      packed({ '.qweight': i32, '.qzeros': i32, '.scales': i32 }),
    ),
    becomes: /quantize_config\.json: the weights are quantised with GPTQ: not supported/,
  },
  {
    name: 'quant_config.json beside AWQ weights',
    change: all(
      file('quant_config.json', { zero_point: true, q_group_size: 128, w_bit: 4 }),
      packed({ '.qweight': i32, '.qzeros': i32, '.scales': i32 }),
    ),
    becomes: /quant_config\.json: the weights are quantised with AWQ: not supported/,
  },
  {
    name: 'quantize_config.json that was left beside whole weights',
    change: file('quantize_config.json', { bits: 4 }),
    becomes: 'same',
  },
  ...(
    [
      [{ '.qweight': i32, '.g_idx': i32 }, 'GPTQ'],
      [{ '.weight': u8, '.weight.absmax': u8 }, 'bitsandbytes'],
      [{ '.weight': zeros('F8_E4M3', [32, 32], 1), '.weight_scale_inv': u8 }, 'FP8'],
      [{ '.weight': u8, '.weight_scale': u8 }, 'scales beside its weights'],
      [{ '.weight': zeros('U32', [4, 4], 4), '.scales': u8, '.biases': u8 }, 'scales beside'],
      [{ '.q_weight': i32, '.q_groups': i32 }, 'EXL2'],
      [{ '.trellis': i32, '.suh': i32 }, 'EXL3'],
    ] as const
  ).map(([suffixes, name]) => ({
    name: `weights of ${name} (${Object.keys(suffixes).join(' ')}) that nothing speaks of`,
    change: packed(suffixes),
    becomes: new RegExp(`quantised with ${name}.*not supported\\. Use a GGUF file`),
  })),
];

/** Each of these was, or might be, the length of a loop or of an array. */
export const sizes: readonly Oddity[] = [
  ...(
    [
      ['num_hidden_layers', 2147483647, 1024],
      ['num_hidden_layers', 1e18, 1024],
      ['hidden_size', 2147483647, 2 ** 20],
      ['intermediate_size', 2147483647, 2 ** 22],
      ['num_attention_heads', 2147483647, 4096],
      ['num_key_value_heads', 2147483647, 4096],
      ['head_dim', 2147483647, 2 ** 16],
      ['vocab_size', 2147483647, 2 ** 24],
      ['max_position_embeddings', 1e18, 2 ** 31 - 1],
    ] as const
  ).map(([key, value, most]) => ({
    name: `${key} ${value}`,
    change: config({ [key]: value }),
    becomes: new RegExp(`config\\.json: '${key}' is ${value} \\(at most ${most}\\)`),
  })),
  {
    name: 'more layers than there are tensors',
    change: config({ num_hidden_layers: 1000 }),
    becomes: /'num_hidden_layers' is 1000, but the checkpoint has only 21 tensors/,
  },
  {
    name: 'more positions than anybody needs, and fewer than are refused',
    change: config({ max_position_embeddings: 2 ** 31 - 1 }),
    becomes: 'runs',
  },
];

export const names: readonly Oddity[] = [
  'constructor',
  'toString',
  '__proto__',
  'hasOwnProperty',
].flatMap((name) => [
  {
    name: `hidden_act ${name}`,
    change: config({ hidden_act: name }),
    becomes: new RegExp(`hidden_act '${name}' is not supported`),
  },
  {
    name: `model_type ${name}`,
    change: config({ model_type: name }),
    becomes: new RegExp(`model_type '${name}' is not supported`),
  },
  {
    name: `rope_type ${name}`,
    change: config({ rope_scaling: { rope_type: name, factor: 2 } }),
    becomes: new RegExp(`rotary scaling "${name}" is not supported`),
  },
  { name: `torch_dtype ${name}`, change: config({ torch_dtype: name }), becomes: 'same' },
  {
    name: `a tensor named ${name}`,
    change: adding([`model.${name}`, zeros('F16', [1], 2)]),
    becomes: new RegExp(`does not account for: model\\.${name}`),
  },
]);
