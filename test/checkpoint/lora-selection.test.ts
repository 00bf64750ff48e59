/** Which modules an adapter means, and by which names: the rules of PEFT. */

import assert from 'node:assert/strict';
import { cpSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { matchPatterns } from '../../src/checkpoint/lora/python-pattern.ts';
import {
  changeAdapterConfig,
  changeAdapterTensors,
  copyAdapter,
  openAdapted,
} from '../support/adapter.ts';
import { fixture, loraFixture } from '../support/fixtures.ts';
import { readSafetensors, writeSafetensors } from '../support/safetensors.ts';
import { temporaryRoot } from '../support/temporary.ts';
import { readTensor, refusal, tensorOf } from './helpers.ts';

const root = temporaryRoot();
const llama = fixture('families/llama');
const place = { file: 'adapter_config.json', field: 'a field' };

describe('patterns', () => {
  const whole = (pattern: string, name: string) =>
    matchPatterns('whole', [pattern], [name], place)[0] !== null;

  it('are those of Python', () => {
    // What re.fullmatch says.
    const cases: readonly (readonly [pattern: string, name: string, matches: boolean])[] = [
      ['.*q_proj', 'model.layers.0.q_proj', true],
      ['q_proj', 'model.layers.0.q_proj', false],
      ['.*\\.(?P<part>q|k)_proj', 'a.k_proj', true],
      ['(?P<a>x)(?P=a)', 'xx', true],
      ['\\Aab\\Z', 'ab', true],
      ['(?i)AB', 'ab', true],
      ['(?!.*vision).*proj', 'text.proj', true],
      ['(?!.*vision).*proj', 'vision.proj', false],
      ['a{,2}', 'aa', true],
      ['a{,2}', 'aaa', false],
      ['[]x]+', ']x', true],
      ['[^]]+', 'ab', true],
      ['[a\\]b]+', 'a]b', true],
      ['a|ab', 'ab', true],
      ['\\bmodel\\.layers\\.[\\d]{1,}\\.mlp', 'model.layers.12.mlp', true],
    ];
    for (const [pattern, name, matches] of cases) {
      assert.equal(whole(pattern, name), matches, `${pattern} and ${name}`);
    }
  });

  it('with what is not translated are refused', () => {
    for (const pattern of ['a++', '(?>a)', '(?x) a', '(?#a)b', 'a)', '[a', '*', '(?P<1>a)']) {
      assert.throws(() => whole(pattern, 'a'), refusal(/'a field' has a regular expression/));
    }
  });

  it('of ranks are for the end of a name, the first that fits', () => {
    const names = ['model.layers.1.q_proj', 'model.layers.11.q_proj', 'xq_proj', 'k_proj'];
    const found = matchPatterns('ending', ['layers.1.q_proj', 'q_proj', '^k'], names, place);
    assert.deepEqual(
      found.map((match) => match?.pattern ?? null),
      [0, 1, null, null],
    );
  });
});

describe('modules', { concurrency: 1 }, () => {
  const open = async (change: Record<string, unknown>) => {
    const dir = changeAdapterConfig(copyAdapter('second', root.directory()), change);
    const { source } = await openAdapted(llama, { lora: [dir] });
    await source.close();
  };

  it('are selected by patterns, layers and exclusions', async () => {
    const all = '.*\\.1\\.(self_attn\\.[vq]_proj|mlp\\.up_proj)';
    for (const config of [
      { target_modules: all, layers_to_transform: null },
      { layers_to_transform: 1 },
      { layers_to_transform: [1, 7], layers_pattern: 'layers' },
      { layers_to_transform: [1], layers_pattern: ['blocks', 'layers'] },
      { layers_to_transform: null, exclude_modules: '.*\\.0\\..*' },
      {
        layers_to_transform: null,
        exclude_modules: [
          'layers.0.self_attn.q_proj',
          'layers.0.self_attn.v_proj',
          '0.mlp.up_proj',
        ],
      },
      {
        target_modules: [
          'model.layers.1.self_attn.q_proj',
          'model.layers.1.self_attn.v_proj',
          'layers.1.mlp.up_proj',
        ],
        layers_to_transform: null,
      },
      { target_modules: null },
    ]) {
      await open(config);
    }
    for (const config of [
      { layers_to_transform: [1], layers_pattern: 'blocks' },
      { target_modules: 'all-linear' },
      { exclude_modules: ['up_proj'] },
      { modules_to_save: ['mlp'] },
    ]) {
      await assert.rejects(open(config), refusal(/^[^ ]*adapter_config\.json: .*(select|update)/));
    }
  });

  it('that the checkpoint does not have are told of, if others are there', async () => {
    const target_modules = ['q_proj', 'v_proj', 'up_proj', 'query_key_value'];
    const dir = changeAdapterConfig(copyAdapter('second', root.directory()), { target_modules });
    const { source, adapters } = await openAdapted(llama, { lora: [dir] });
    await source.close();
    assert.deepEqual(adapters[0]?.passedOver, ['query_key_value']);
  });

  it('have the names of the decoder, with and without what is around it', async () => {
    const bare = root.directory();
    cpSync(llama, bare, { recursive: true });
    const weights = join(bare, 'model.safetensors');
    const tensors = [...readSafetensors(weights)];
    writeSafetensors(
      weights,
      new Map(tensors.map(([name, tensor]) => [name.replace(/^model\./, ''), tensor])),
    );
    const unwrapped = copyAdapter('patterns', root.directory());
    changeAdapterTensors(unwrapped, (adapter) => {
      for (const [name, tensor] of [...adapter]) {
        adapter.delete(name);
        adapter.set(
          name.replace('base_model.model.', '').replace(/(lora_[AB])/, '$1.default'),
          tensor,
        );
      }
    });
    const [plain, ...others] = await Promise.all([
      openAdapted(llama, { lora: [loraFixture('patterns')] }),
      openAdapted(bare, { lora: [loraFixture('patterns')] }),
      openAdapted(bare, { lora: [unwrapped] }),
    ]);
    for (const name of ['layers.0.mlp.down_proj.weight', 'layers.1.input_layernorm.weight']) {
      const expected = await readTensor(tensorOf(plain.source, `model.${name}`));
      for (const { source } of others) {
        assert.deepEqual(await readTensor(tensorOf(source, name)), expected);
      }
    }
    for (const { source } of [plain, ...others]) await source.close();
  });
});
