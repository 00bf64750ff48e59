/** Adapters that cannot be merged: what is wrong is named, and with which checkpoint it would fit. */

import assert from 'node:assert/strict';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { convertCheckpoint } from '../../src/convert/convert.ts';
import {
  adapterConfig,
  adapterWeights,
  changeAdapterConfig,
  changeAdapterTensors,
  copyAdapter,
  openAdapted,
  zeros,
} from '../support/adapter.ts';
import { fixture, loraFixture } from '../support/fixtures.ts';
import type { Tensors } from '../support/safetensors.ts';
import { temporaryRoot } from '../support/temporary.ts';
import { refusal } from './helpers.ts';

const root = temporaryRoot();
const base = 'families/llama';

interface BadAdapter {
  readonly name: string;
  /** Fields of the configuration of `second`. */
  readonly config?: Record<string, unknown>;
  readonly tensors?: (tensors: Tensors) => void;
  /** Anything else that is done to its directory. */
  readonly change?: (dir: string) => void;
  readonly base?: string;
  readonly says: RegExp;
}

function refuses(group: string, cases: readonly BadAdapter[]): void {
  describe(group, { concurrency: 1 }, () => {
    for (const { name, config, tensors, change, base: checkpoint = base, says } of cases) {
      it(name, async () => {
        const dir = copyAdapter('second', root.directory());
        if (config !== undefined) changeAdapterConfig(dir, config);
        if (tensors !== undefined) changeAdapterTensors(dir, tensors);
        change?.(dir);
        await assert.rejects(openAdapted(fixture(checkpoint), { lora: [dir] }), refusal(says));
      });
    }
  });
}

const module = 'base_model.model.model.layers.1.self_attn.q_proj';
const take = (tensors: Tensors, name: string) => {
  const tensor = tensors.get(name);
  assert.ok(tensor !== undefined, name);
  tensors.delete(name);
  return tensor;
};

refuses('what is no LoRA adapter', [
  {
    name: 'a directory that does not exist',
    change: (dir) => rmSync(dir, { recursive: true }),
    says: /no such directory/,
  },
  {
    name: 'a file',
    change: (dir) => {
      rmSync(dir, { recursive: true });
      writeFileSync(dir, 'x');
    },
    says: /is not a directory\. Give the directory that holds adapter_config\.json/,
  },
  {
    name: 'no configuration',
    change: (dir) => rmSync(join(dir, adapterConfig)),
    says: /no adapter_config\.json in this directory/,
  },
  {
    name: 'no weights',
    change: (dir) => rmSync(join(dir, adapterWeights)),
    says: /neither adapter_model\.safetensors nor adapter_model\.bin/,
  },
  {
    name: 'weights that are a directory',
    change: (dir) => {
      rmSync(join(dir, adapterWeights));
      mkdirSync(join(dir, adapterWeights));
    },
    says: /is a directory, not a file|is not a regular file/,
  },
  {
    name: 'an empty file of weights',
    change: (dir) => writeFileSync(join(dir, adapterWeights), ''),
    says: /is empty/,
  },
  { name: 'no tensors', tensors: (tensors) => tensors.clear(), says: /holds no tensors/ },
  {
    name: 'a configuration that is a list',
    change: (dir) => writeFileSync(join(dir, adapterConfig), '[]'),
    says: /adapter_config\.json: is not a JSON object/,
  },
  ...['IA3', 'LOHA', 'LOKR', 'ADALORA', 'VERA', 'PREFIX_TUNING', 'lora'].map((type) => ({
    name: `peft_type ${type}`,
    config: { peft_type: type },
    says: new RegExp(`peft_type "${type}" cannot be merged`),
  })),
  { name: 'no peft_type', config: { peft_type: undefined }, says: /'peft_type' is missing/ },
]);

refuses('LoRA with parts that are not computed', [
  { name: 'DoRA', config: { use_dora: true }, says: /'use_dora' is set: DoRA, which is not supp/ },
  {
    name: 'DoRA that the configuration does not tell of',
    tensors: (tensors) => tensors.set(`${module}.lora_magnitude_vector`, zeros(32)),
    says: /lora_magnitude_vector: is part of DoRA/,
  },
  {
    name: 'a variant of later days',
    config: { use_tomorrow: true },
    says: /'use_tomorrow' is set, which is not supported/,
  },
  ...[
    ['layer_replication', [[0, 2]]],
    ['trainable_token_indices', [1]],
    ['target_parameters', ['experts']],
    ['alora_invocation_tokens', [3]],
    ['arrow_config', { top_k: 1 }],
    ['megatron_config', {}],
  ].map(([key, value]) => ({
    name: `${key}`,
    config: { [`${key}`]: value },
    says: new RegExp(`'${key}' is set: .*, which is not supported`),
  })),
  ...['pissa', 'pissa_niter_4', 'olora', 'loftq', 'corda', 'lora_ga', 'other', 3].map((init) => ({
    name: `weights that began as ${init}`,
    config: { init_lora_weights: init },
    says: /'init_lora_weights' is .* so it does not fit the original base model/,
  })),
]);

refuses('numbers that are none', [
  ...[-1, 0, 1.5, 1e9, '2', [2], 2 ** 53].map((r) => ({
    name: `rank ${JSON.stringify(r)}`,
    config: { r },
    says: /'r' must be an integer from 1 to 65536/,
  })),
  ...[-4, '4', [4], { a: 1 }].map((alpha) => ({
    name: `alpha ${JSON.stringify(alpha)}`,
    config: { lora_alpha: alpha },
    says: /'lora_alpha' must be a number of at least 0/,
  })),
  {
    name: 'alpha beyond all numbers',
    change: (dir) =>
      writeFileSync(join(dir, adapterConfig), '{"peft_type":"LORA","r":2,"lora_alpha":1e999}'),
    says: /'lora_alpha' must be a number of at least 0/,
  },
  {
    name: 'alpha NaN',
    change: (dir) =>
      writeFileSync(join(dir, adapterConfig), '{"peft_type":"LORA","r":2,"lora_alpha":NaN}'),
    says: /is not valid JSON|'lora_alpha' must be a number of at least 0/,
  },
  {
    name: 'ranks in a list',
    config: { rank_pattern: [2] },
    says: /'rank_pattern' is not an object/,
  },
  {
    name: 'a negative rank in a pattern',
    config: { rank_pattern: { q_proj: -2 } },
    says: /'rank_pattern' must be an integer/,
  },
  {
    name: 'an alpha of text in a pattern',
    config: { alpha_pattern: { q_proj: 'x' } },
    says: /'alpha_pattern' must be a number/,
  },
  { name: 'a string for a flag', config: { use_rslora: 'yes' }, says: /'use_rslora' is neither/ },
  {
    name: 'targets of numbers',
    config: { target_modules: [1] },
    says: /'target_modules' is not a li/,
  },
  {
    name: 'layers of text',
    config: { layers_to_transform: ['a'] },
    says: /'layers_to_transform' is not a list of layer indexes: \["a"\]/,
  },
]);

refuses('patterns', [
  {
    name: 'that take for ever',
    config: { target_modules: '((([a-z_.0-9]+)+)+)+!' },
    says: /matching 'target_modules' with \d+ module names takes more than 2 s/,
  },
  {
    name: 'that are not closed',
    config: { target_modules: '(q_proj' },
    says: /'target_modules' has a regular expression that cannot be used: "\(q_proj"/,
  },
  {
    name: 'that would leave what is around them',
    config: { rank_pattern: { 'q_proj)|(.*': 9 } },
    says: /'rank_pattern' has a regular expression that cannot be used/,
  },
]);

refuses('tensors that do not fit together', [
  {
    name: 'A without B',
    tensors: (tensors) => take(tensors, `${module}.lora_B.weight`),
    says: /model\.layers\.1\.self_attn\.q_proj" has no lora_B/,
  },
  {
    name: 'B without A',
    tensors: (tensors) => take(tensors, `${module}.lora_A.weight`),
    says: /model\.layers\.1\.self_attn\.q_proj" has no lora_A/,
  },
  {
    name: 'two of one kind',
    tensors: (tensors) =>
      tensors.set(`${module}.lora_A.default.weight`, take(tensors, `${module}.lora_A.weight`)) &&
      tensors.set(`${module}.lora_A.weight`, zeros(2, 32)),
    says: /another tensor of the adapter holds the same factor for "model\.layers\.1\.self_attn\.q_proj"/,
  },
  {
    name: 'another rank than the configuration says',
    config: { r: 4 },
    says: /lora_A of \[2, 32\] and lora_B of \[.*\] do not have rank 4, .* gives for model\.layers\.1/,
  },
  {
    name: 'another rank than a pattern says',
    config: { rank_pattern: { q_proj: 3 } },
    says: /do not have rank 3, .* gives for model\.layers\.1\.self_attn\.q_proj/,
  },
  {
    name: 'a factor of one dimension',
    tensors: (tensors) => tensors.set(`${module}.lora_A.weight`, zeros(64)),
    says: /lora_A of \[64\] and lora_B of \[32, 2\] do not have rank 2/,
  },
  {
    name: 'factors for another width',
    tensors: (tensors) => tensors.set(`${module}.lora_A.weight`, zeros(2, 64)),
    says: /changes a matrix of \[32, 64\], the checkpoint's model\.layers\.1\..* is \[32, 32\]\. Give the checkpoint that the adapter was trained on: tiny\/llama/,
  },
  {
    name: 'an empty factor',
    tensors: (tensors) => {
      tensors.set(`${module}.lora_A.weight`, zeros(0, 32));
      tensors.set(`${module}.lora_B.weight`, zeros(32, 0));
    },
    says: /do not have rank 2/,
  },
  {
    name: 'factors of integers',
    tensors: (tensors) => tensors.set(`${module}.lora_A.weight`, { ...zeros(2, 32), dtype: 'I32' }),
    says: /dtype i32 cannot be merged/,
  },
  {
    name: 'a norm of another width',
    tensors: (tensors) => tensors.set('base_model.model.model.norm.weight', zeros(16)),
    says: /its shape is \[16\], that of the checkpoint's model\.norm\.weight \[32\]/,
  },
  {
    name: 'a vocabulary that was made larger',
    tensors: (tensors) => tensors.set('base_model.model.lm_head.weight', zeros(120, 32)),
    says: /its shape is \[120, 32\], that of the checkpoint's lm_head\.weight \[112, 32\]/,
  },
  {
    name: 'a tensor of another kind of adapter',
    tensors: (tensors) => tensors.set(`${module}.lora_E`, zeros(2, 1)),
    says: /lora_E: is not a tensor of a LoRA adapter/,
  },
  {
    name: 'names with control characters',
    tensors: (tensors) => tensors.set('base_model.model.\u001b[31mred.weight', zeros(1)),
    says: /the name of a tensor has control characters/,
  },
]);

refuses('another base', [
  {
    name: 'modules that it does not have',
    base: 'families/phi',
    says: /changes tensors that the checkpoint does not have: model\.layers\.1\.mlp\.up_proj\.weight\. Give the checkpoint that the adapter was trained on: tiny\/llama/,
  },
  {
    name: 'that nobody names',
    base: 'families/phi',
    config: { base_model_name_or_path: null },
    says: /it does not say which/,
  },
  {
    name: 'a name that would act on a terminal',
    base: 'families/phi',
    config: { base_model_name_or_path: '../../\u001b[2J\netc' },
    says: /trained on: \.\.\/\.\.\/\\x1b\[2J\\netc/,
  },
  {
    name: 'more layers than the adapter has',
    config: { layers_to_transform: [0, 1] },
    says: /selects modules for which the adapter has no update: .*layers\.0\.self_attn\.q_proj, /,
  },
  {
    name: 'updates that the configuration does not select',
    config: { target_modules: ['q_proj', 'v_proj'] },
    says: /updates for modules that its configuration does not select: model\.layers\.1\.mlp\.up_proj/,
  },
  {
    name: 'targets that it does not have, and nothing else',
    config: { target_modules: ['c_attn', 'c_proj'] },
    tensors: (tensors) => {
      for (const name of [...tensors.keys()]) tensors.delete(name);
      tensors.set('base_model.model.model.norm.weight', zeros(32));
    },
    says: /'target_modules' selects no module of the checkpoint: c_attn, c_proj/,
  },
  {
    name: 'a head of another task',
    tensors: (tensors) => tensors.set('base_model.model.score.weight', zeros(2, 32)),
    says: /tensors that the checkpoint does not have: score\.weight/,
  },
]);

refuses('requests', [
  { name: 'of text', config: { flashllm: 'relu' }, says: /'flashllm' is not an object/ },
  {
    name: 'for what nobody knows',
    config: { flashllm: { hidden_act: 'mish' } },
    says: /'flashllm\.hidden_act' "mish" is not supported\. Supported: relu, /,
  },
  {
    name: 'with a field of another name',
    config: { flashllm: { hidden_akt: 'relu' } },
    says: /'flashllm' has an unknown field "hidden_akt"/,
  },
  {
    name: 'with a threshold below 0',
    config: { flashllm: { hidden_act: 'fatrelu', hidden_act_param: -1 } },
    says: /'hidden_act_param' is not above 0/,
  },
]);

describe('while weights are merged', { concurrency: 1 }, () => {
  const convert = (lora: readonly string[], dramBudget: number) =>
    convertCheckpoint({
      checkpoint: fixture(base),
      output: join(root.directory(), 'model'),
      lora,
      dramBudget,
    });

  it('names a factor that is not finite', async () => {
    const dir = copyAdapter('second', root.directory());
    changeAdapterTensors(dir, (tensors) => {
      tensors.get(`${module}.lora_B.weight`)?.data.writeUInt16LE(0x7e00, 2 * 5);
    });
    await assert.rejects(
      convert([dir], 2 ** 31),
      refusal(/q_proj\.lora_B\.weight: not a finite number at index 5\. The adapter is damaged/),
    );
  });

  it('counts the factors to the floor', async () => {
    await assert.rejects(convert([], 2 ** 20), refusal(/process [^,]*, buffers/));
    const lora = [loraFixture('patterns')];
    await assert.rejects(convert(lora, 2 ** 20), refusal(/process [^,]*, adapters [^,]*, buffers/));
  });

  it('two adapters that ask for different activations', async () => {
    const [one, other] = ['relu', 'relu2'].map((name) =>
      changeAdapterConfig(copyAdapter('second', root.directory()), {
        flashllm: { hidden_act: name },
      }),
    );
    const lora = [one ?? '', other ?? ''];
    await assert.rejects(
      openAdapted(fixture(base), { lora }),
      refusal(/asks for the activation "relu2", .* for "relu"\. Decide with --hidden-act/),
    );
    const decided = await openAdapted(fixture(base), { lora, hiddenAct: 'gelu' });
    await decided.source.close();
    assert.equal(decided.config.hidden_act, 'gelu');
  });
});
