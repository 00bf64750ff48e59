/**
 * Configurations that say one thing twice, in the key of another version or family, or not at all, against
 * the models that transformers makes of them (`fixtures/configs`).
 */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { frequenciesOf } from '../../src/engine/rotary.ts';
import { InputError } from '../../src/errors.ts';
import { recipeOf } from '../../src/models/index.ts';
import type { ModelRecipe } from '../../src/models/spec.ts';

interface Values {
  readonly hiddenSize: number;
  readonly layers: number;
  readonly headDim: number;
  readonly fusedRows: number | null;
  readonly keyRows: number | null;
  readonly neurons: number;
  readonly eps: number;
  readonly activation: string;
  readonly frequencies: readonly number[] | null;
  readonly factor: number | null;
  readonly windows: readonly (number | null)[];
  readonly tied: boolean;
  readonly bos: number | null;
  readonly eos: number | readonly number[] | null;
}

interface Case {
  readonly name: string;
  readonly config: Readonly<Record<string, unknown>>;
  /** Null where transformers refuses. */
  readonly values: Values | null;
}

const file = fileURLToPath(new URL('../../fixtures/configs/values.json', import.meta.url));
const cases = JSON.parse(readFileSync(file, 'utf8')) as readonly Case[];

/** Where transformers fails although there is no doubt what is meant. */
const readAllTheSame = new Set([
  'nemotron: nothing said',
  'null rope_theta',
  'yarn without factor',
  'qwen2: null head_dim',
  'qwen3: null head_dim',
  'phi: null head_dim',
  'nemotron: null head_dim',
  'mistral: null KV heads',
  'nemotron: null KV heads',
  'stablelm: null KV heads',
  'null hidden_act',
  'a text_config of nothing',
  'bos in a list',
]);

/** Where transformers passes over what it does not know, and goes on with something else. */
const refusedAllTheSame = new Set(['ropes by layer, no types of layers']);

/** Keys of the first Falcons, which transformers 5 no longer knows; the weights' shapes confirm them. */
const olderKeys = new Set(['falcon: n_head_kv']);

const activationNames: Readonly<Record<string, string>> = {
  SiLUActivation: 'silu',
  GELUActivation: 'gelu',
  NewGELUActivation: 'gelu_tanh',
  ReLUSquaredActivation: 'relu2',
  ReLU: 'relu',
};

/** What the recipe makes of the fields that transformers was asked for. */
function valuesOf({ spec, tensors }: ModelRecipe): Values {
  const { attention, positions, ffn } = spec;
  const qkv = tensors.find(({ name }) => name === 'layers.0.attention.qkv.weight');
  const fused = qkv?.parts[0]?.rows !== undefined;
  const key = fused ? undefined : qkv?.parts[1];
  const rotary = positions.kind === 'rotary' ? positions : null;
  const factor = rotary?.scaling.kind === 'yarn' ? rotary.scaling.attentionFactor : 1;
  return {
    hiddenSize: spec.hiddenSize,
    layers: spec.layers,
    headDim: attention.headDim,
    fusedRows: fused ? (qkv?.parts[0]?.shape[0] ?? 0) : null,
    keyRows: key?.shape[0] ?? null,
    neurons: ffn.neurons,
    eps: spec.norm.eps,
    activation: ffn.activation,
    frequencies: rotary && Array.from(frequenciesOf(rotary, 0)),
    factor: rotary && factor,
    windows: Array.from({ length: spec.layers }, (_, layer) => attention.windows[layer] ?? null),
    tied: spec.tiedHead,
    bos: spec.bosId,
    eos: spec.eosIds,
  };
}

/** The reference in the words of a spec; -1 stands for no token. */
function expectedOf(values: Values): Values {
  const id = (value: number | null) => (value === -1 ? null : value);
  return {
    ...values,
    activation: activationNames[values.activation] ?? values.activation,
    bos: id(values.bos),
    eos: [values.eos].flat().flatMap((value) => id(value) ?? []),
  };
}

const near = (a: number, b: number) => Math.abs(a - b) <= 1e-6 * Math.abs(b);

test('every configuration means what it means to transformers, or is refused', () => {
  for (const { name, config, values } of cases) {
    const make = () =>
      valuesOf(recipeOf({ config, configFile: 'config.json', sourceNames: new Set() }));
    if (values === null ? !readAllTheSame.has(name) : refusedAllTheSame.has(name)) {
      assert.throws(make, InputError, name);
      continue;
    }
    const found = make();
    if (values === null || olderKeys.has(name)) continue;
    const { frequencies, factor, ...expected } = expectedOf(values);
    const { frequencies: ours, factor: ourFactor, ...rest } = found;
    assert.deepEqual(rest, expected, name);
    assert.equal(ours?.length, frequencies?.length, name);
    frequencies?.forEach((frequency, pair) => {
      assert.ok(near(ours?.[pair] ?? 0, frequency), `${name}: ${ours} instead of ${frequencies}`);
    });
    assert.ok(factor === null || near(ourFactor ?? 0, factor), `${name}: ${ourFactor}`);
  }
});

test('the cases are those that this file speaks of', () => {
  const names = cases.map(({ name }) => name);
  assert.deepEqual(
    [...readAllTheSame, ...refusedAllTheSame, ...olderKeys].filter((name) => !names.includes(name)),
    [],
  );
});
