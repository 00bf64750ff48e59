/** Directories with an oddity that people have met: what is to become of each. */

import { cpSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { changeConfig, changeTensors, weightsFile, writeShards } from '../support/checkpoint.ts';
import { familyFixture } from '../support/fixtures.ts';
import { readSafetensors, type Tensor, type Tensors } from '../support/safetensors.ts';

/** A copy of the Llama fixture that `change` has been at. */
export interface Oddity {
  readonly name: string;
  readonly change: (dir: string) => void;
  /** `same` as the fixture, tensor by tensor; `runs` otherwise; or what it is refused with. */
  readonly becomes: 'same' | 'runs' | RegExp;
  /** What is said of it besides. */
  readonly note?: RegExp;
}

export const plain = familyFixture('llama');

export function makeOdd(dir: string, { change }: Oddity): string {
  cpSync(plain, dir, { recursive: true });
  change(dir);
  return dir;
}

const layer = 'model.layers.0.self_attn';
const indexFile = `${weightsFile}.index.json`;

const zeros = (dtype: string, shape: readonly number[], elementBytes: number): Tensor => {
  const elements = shape.reduce((product, size) => product * size, 1);
  return { dtype, shape, data: Buffer.alloc(elements * elementBytes) };
};

const tensors = (change: (all: Tensors) => void) => (dir: string) => {
  changeTensors(dir, change);
};
const adding = (...more: readonly (readonly [string, Tensor])[]) =>
  tensors((all) => {
    for (const [name, tensor] of more) all.set(name, tensor);
  });
const config = (changes: Record<string, unknown>) => (dir: string) => {
  changeConfig(dir, changes);
};

function replaceText(path: string, from: string, to: string): void {
  const text = readFileSync(path, 'latin1');
  if (!text.includes(from)) throw new Error(`${path} has no ${from}`);
  writeFileSync(path, text.replace(from, to), 'latin1');
}

/** config.json with `text` as its first field. */
const configText = (text: string) => (dir: string) =>
  replaceText(join(dir, 'config.json'), '{', `{${text},`);

/** The weights in two shards; `more` goes into the index. */
function shard(dir: string, more: Record<string, string> = {}): readonly [string, string] {
  const path = join(dir, weightsFile);
  const [first = '', second = ''] = writeShards(dir, readSafetensors(path), 2);
  rmSync(path);
  changeIndex(dir, (map) => Object.assign(map, more));
  return [first, second];
}

function changeIndex(dir: string, change: (map: Record<string, string>) => void): void {
  const path = join(dir, indexFile);
  const index = JSON.parse(readFileSync(path, 'utf8')) as { weight_map: Record<string, string> };
  change(index.weight_map);
  writeFileSync(path, JSON.stringify(index));
}

/** Puts tensors into a shard. */
function changeShard(dir: string, name: string, change: (all: Tensors) => void): void {
  renameSync(join(dir, name), join(dir, weightsFile));
  changeTensors(dir, change);
  renameSync(join(dir, weightsFile), join(dir, name));
}

const anyProjection = `${layer}.q_proj.weight`;
/** What quantised checkpoints have in the place of each projection. */
const packed = (suffixes: Readonly<Record<string, Tensor>>) =>
  tensors((all) => {
    for (const name of [...all.keys()].filter((key) => key.endsWith('_proj.weight'))) {
      all.delete(name);
      for (const [suffix, tensor] of Object.entries(suffixes)) {
        all.set(name.replace(/\.weight$/, suffix), tensor);
      }
    }
  });
const i32 = zeros('I32', [4, 4], 4);
const u8 = zeros('U8', [16, 1], 1);
const file = (name: string, content: unknown) => (dir: string) =>
  writeFileSync(join(dir, name), JSON.stringify(content));
const all =
  (...changes: readonly ((dir: string) => void)[]) =>
  (dir: string) => {
    for (const change of changes) change(dir);
  };
const method = (quant_method: unknown) => config({ quantization_config: { quant_method } });

const leftovers: readonly Oddity[] = [
  {
    name: 'buffers at every level',
    change: adding(
      ['model.rotary_emb.inv_freq', zeros('F32', [4], 4)],
      [`${layer}.rotary_emb.inv_freq`, zeros('F32', [4], 4)],
      [`${layer}.rotary_emb.cos_cached`, zeros('F32', [1, 1, 8, 8], 4)],
      [`${layer}.rotary_emb.sin_cached`, zeros('F16', [8, 8], 2)],
      ['rotary_pos_emb.inv_freq', zeros('F32', [4], 4)],
      ['model.embeddings.position_ids', zeros('I64', [1, 64], 8)],
      ['model.layers.1.attn.masked_bias', zeros('F32', [], 4)],
      ['model.layers.1.attn.bias', zeros('BOOL', [1, 1, 8, 8], 1)],
    ),
    becomes: 'same',
  },
  {
    name: 'buffers of types that are not read',
    change: adding(
      [`${layer}.rotary_emb.inv_freq`, zeros('U16', [4], 2)],
      ['model.rotary_emb.inv_freq', zeros('F8_E4M3', [4], 1)],
      ['model.rotary_emb.cos_cached', zeros('C64', [2], 8)],
      ['model.rotary_emb.sin_cached', zeros('toString', [2], 3)],
    ),
    becomes: 'same',
  },
  {
    name: 'other heads and towers',
    change: adding(
      ['v_head.summary.weight', zeros('F16', [1, 32], 2)],
      ['score.weight', zeros('F8_E5M2', [2, 32], 1)],
      ['visual.blocks.0.attn.bias', zeros('F16', [32], 2)],
    ),
    becomes: 'same',
    note: /v_head\.summary\.weight.* passed over/,
  },
  {
    name: 'a bias that config.json says is not there',
    change: adding([`${layer}.q_proj.bias`, zeros('F16', [32], 2)]),
    becomes: /does not account for: model\.layers\.0\.self_attn\.q_proj\.bias/,
  },
  {
    name: 'a bias under the name of a mask',
    change: adding([`${layer}.bias`, zeros('F16', [32], 2)]),
    becomes: /does not account for: model\.layers\.0\.self_attn\.bias/,
  },
  {
    name: 'an adapter that is not merged',
    change: adding([`${layer}.q_proj.lora_A.weight`, zeros('F16', [4, 32], 2)]),
    becomes: /does not account for: .*lora_A.*adapters must be merged/,
  },
  {
    name: 'tensors with names of what objects have',
    change: adding(['constructor', zeros('F16', [1], 2)], ['toString', zeros('F16', [1], 2)]),
    becomes: /does not account for: constructor, toString/,
  },
  {
    name: 'a projection of a type that is not read',
    change: adding([anyProjection, zeros('F8_E4M3', [32, 32], 1)]),
    becomes: /q_proj\.weight: dtype "F8_E4M3" is not supported/,
  },
];

const indexes: readonly Oddity[] = [
  {
    name: 'an index that lists tensors that no shard holds',
    change: (dir) => {
      const [first] = shard(dir);
      const more = ['model.rotary_emb.inv_freq', `${layer}.rotary_emb.inv_freq`, 'score.weight'];
      changeIndex(dir, (map) =>
        Object.assign(map, Object.fromEntries(more.map((n) => [n, first]))),
      );
    },
    becomes: 'same',
  },
  {
    name: 'an index that lists a shard that is not there and not needed',
    change: (dir) =>
      void shard(dir, { 'model.rotary_emb.inv_freq': 'model-00003-of-00003.safetensors' }),
    becomes: 'same',
  },
  {
    name: 'an index that lists a needed tensor in the wrong shard',
    change: (dir) => {
      const [first, second] = shard(dir);
      changeIndex(dir, (map) => {
        for (const name of Object.keys(map)) map[name] = map[name] === first ? second : first;
      });
    },
    becomes: 'same',
  },
  {
    name: 'a tensor twice, the same',
    change: (dir) => {
      const whole = readSafetensors(join(dir, weightsFile));
      const [, second] = shard(dir);
      changeShard(dir, second, (some) => {
        const tensor = whole.get('model.embed_tokens.weight');
        if (tensor !== undefined) some.set('model.embed_tokens.weight', tensor);
      });
    },
    becomes: 'same',
  },
  {
    name: 'a tensor twice, with other values',
    change: (dir) => {
      const [first, second] = shard(dir);
      const of = { dtype: 'F16', shape: [112, 32] };
      for (const name of [first, second]) {
        changeShard(dir, name, (some) =>
          some.set('model.embed_tokens.weight', {
            ...of,
            data: Buffer.alloc(112 * 32 * 2, name === first ? 0 : 1),
          }),
        );
      }
    },
    becomes: /00002\.safetensors, tensor model\.embed_tokens\.weight: holds other values than in/,
  },
  {
    name: 'a tensor that the index leaves out',
    change: (dir) => {
      const [first] = shard(dir);
      changeShard(dir, first, (some) => some.set('extra.weight', zeros('F16', [2], 2)));
    },
    becomes: 'same',
    note: /extra\.weight passed over/,
  },
  {
    name: 'a shard that is not there and needed',
    change: (dir) => rmSync(join(dir, shard(dir)[1])),
    becomes: /00002-of-00002\.safetensors: this shard is missing; .*expects/,
  },
  {
    name: 'a needed tensor that no shard holds',
    change: (dir) => {
      const [, second] = shard(dir);
      changeShard(dir, second, (some) => void some.delete('model.norm.weight'));
    },
    becomes: /tensor model\.norm\.weight: .*says that this file holds the tensor/,
  },
  {
    name: 'an index that leads elsewhere',
    change: (dir) => void shard(dir, { 'lm_head.weight': '../model.safetensors' }),
    becomes: /tensor lm_head\.weight: "\.\.\/model\.safetensors" is no name of a file/,
  },
];

const texts: readonly Oddity[] = [
  {
    name: 'numbers that are not finite, where nobody needs them',
    change: all(
      configText('"time_step_limit": [0.0, Infinity], "x": {"y": [-Infinity, NaN]}'),
      (dir) =>
        replaceText(join(dir, 'tokenizer_config.json'), '{', '{"model_max_length": Infinity,'),
      (dir) => writeFileSync(join(dir, 'generation_config.json'), '{"temperature": NaN}'),
    ),
    becomes: 'same',
  },
  {
    name: 'a needed number that is not finite',
    change: configText('"rope_theta": NaN, "note": "NaN"'),
    becomes: 'same', // the last of two keys counts, as in Python
  },
  {
    name: 'a size that is NaN',
    change: (dir) =>
      replaceText(join(dir, 'config.json'), '"hidden_size": 32', '"hidden_size": NaN'),
    becomes: /'hidden_size' is not a positive integer: "NaN"/,
  },
  {
    name: 'an infinite epsilon',
    change: (dir) => replaceText(join(dir, 'config.json'), '1e-06', '-Infinity'),
    becomes: /'rms_norm_eps' is not a number: "-Infinity"/,
  },
  {
    name: 'byte order marks',
    change: (dir) => {
      shard(dir);
      for (const name of ['config.json', 'tokenizer.json', 'tokenizer_config.json', indexFile]) {
        const path = join(dir, name);
        writeFileSync(path, `\ufeff${readFileSync(path, 'utf8')}`);
      }
    },
    becomes: 'same',
  },
  {
    name: 'metadata of safetensors that is null',
    change: (dir) => replaceText(join(dir, weightsFile), '{"format":"pt"}', 'null           '),
    becomes: 'same',
  },
  {
    name: 'no tokens to begin and end with',
    change: config({ bos_token_id: -1, eos_token_id: [2, -1] }),
    becomes: 'runs',
  },
  { name: 'one BOS in a list', change: config({ bos_token_id: [1] }), becomes: 'same' },
  {
    name: 'two BOS',
    change: config({ bos_token_id: [1, 2] }),
    becomes: /'bos_token_id' names several tokens: \[1,2\]/,
  },
  {
    name: 'an empty generation_config.json',
    change: (dir) => writeFileSync(join(dir, 'generation_config.json'), ''),
    becomes: 'same',
    note: /^generation_config\.json is not valid JSON.*passed over/,
  },
  {
    name: 'a generation_config.json that is no object',
    change: (dir) => writeFileSync(join(dir, 'generation_config.json'), '[]'),
    becomes: /generation_config\.json: is not a JSON object/,
  },
  {
    name: 'an end of text that is no token',
    change: (dir) => writeFileSync(join(dir, 'generation_config.json'), '{"eos_token_id": "</s>"}'),
    becomes: /generation_config\.json: 'eos_token_id' names no ids/,
  },
  {
    name: 'a key named __proto__',
    change: configText('"__proto__": {"hidden_size": 7, "num_hidden_layers": 1}'),
    becomes: 'same',
  },
  {
    name: 'comments',
    change: configText('/* no */ "a": 1'),
    becomes: /config\.json, byte 1: is not valid JSON/,
  },
];

const heads: readonly Oddity[] = [
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

const quantised: readonly Oddity[] = [
  ...[
    'gptq',
    'awq',
    'bitsandbytes',
    'fbgemm_fp8',
    'fp8',
    'compressed-tensors',
    'bitnet',
    'hqq',
    'eetq',
  ]
    .concat(['quanto', 'torchao', 'aqlm', 'vptq', 'spqr', 'exl2', 'exl3', 'constructor'])
    .map((name) => ({
      name: `quant_method ${name}`,
      change: method(name),
      becomes: new RegExp(
        `config\\.json: the weights are quantised with ${name}: not supported\\. Take a GGUF`,
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
    name: 'a family of its own for quantised weights',
    change: config({ model_type: 'bitnet', quantization_config: { quant_method: 'bitnet' } }),
    becomes: /model_type 'bitnet' is not supported; besides, the weights are quantised with bitnet/,
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
    becomes: new RegExp(`quantised with ${name}.*not supported\\. Take a GGUF`),
  })),
];

/** Each of these was, or might be, the length of a loop or of an array. */
const sizes: readonly Oddity[] = [
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
    becomes: /'num_hidden_layers' is 1000, and the checkpoint has 21 tensors in all/,
  },
  {
    name: 'more positions than anybody needs, and fewer than are refused',
    change: config({ max_position_embeddings: 2 ** 31 - 1 }),
    becomes: 'runs',
  },
];

const names: readonly Oddity[] = ['constructor', 'toString', '__proto__', 'hasOwnProperty'].flatMap(
  (name) => [
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
  ],
);

export const oddities: readonly Oddity[] = [
  ...leftovers,
  ...indexes,
  ...texts,
  ...heads,
  ...quantised,
  ...sizes,
  ...names,
];
