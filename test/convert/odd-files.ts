/** Oddities of the files of a checkpoint: tensors that nobody needs, indexes of shards, texts. */

import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { weightsFile } from '../support/checkpoint.ts';
import { readSafetensors } from '../support/safetensors.ts';
import {
  adding,
  all,
  anyProjection,
  changeIndex,
  changeShard,
  config,
  configText,
  indexFile,
  layer,
  type Oddity,
  replaceText,
  shard,
  zeros,
} from './odd-changes.ts';

export const leftovers: readonly Oddity[] = [
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

export const indexes: readonly Oddity[] = [
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
    becomes: /00002\.safetensors, tensor model\.embed_tokens\.weight: has other values than the tensor of the same name in/,
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
    becomes: /tensor lm_head\.weight: "\.\.\/model\.safetensors" is not the name of a file/,
  },
];

export const texts: readonly Oddity[] = [
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
    becomes: /'bos_token_id' must be a single token id: \[1,2\]/,
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
    becomes: /generation_config\.json: 'eos_token_id' is not a token id or a list of token ids/,
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
