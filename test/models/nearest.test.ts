/** What is said of checkpoints of families that nobody here knows. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { InputError } from '../../src/errors.ts';
import { ffnSources } from '../../src/models/ffn-sources.ts';
import { recipeOf } from '../../src/models/index.ts';

const config = {
  vocab_size: 100,
  hidden_size: 32,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  intermediate_size: 48,
  max_position_embeddings: 64,
};

/** The names of a known family's tensors, some left out and some added. */
function names(modelType: string, without: RegExp, more: readonly string[]): Set<string> {
  const known = { ...config, model_type: modelType };
  const facts = { config: known, configFile: 'config.json', sourceNames: new Set<string>() };
  const recipe = recipeOf(facts);
  const all = [...recipe.tensors.flatMap(({ parts }) => parts), ...ffnSources(recipe)];
  return new Set([
    ...all
      .map(({ source }) => recipe.views.get(source)?.source ?? source)
      .filter((name) => !without.test(name)),
    ...more,
  ]);
}

function line(sourceNames: ReadonlySet<string>): string {
  const facts = { config: { ...config, model_type: 'new' }, configFile: 'config.json' };
  try {
    recipeOf({ ...facts, sourceNames });
  } catch (error) {
    assert.ok(error instanceof InputError);
    return error.line;
  }
  throw new Error('the family is known');
}

test('the nearest family is named, and in what the checkpoint differs', () => {
  const gated = ['0', '1'].map((layer) => `model.layers.${layer}.self_attn.g_proj.weight`);
  assert.match(
    line(names('starcoder2', /k_proj\.bias/, gated)),
    /model_type 'new' is not supported; the nearest supported one is 'starcoder2': the checkpoint has no model\.layers\.n\.self_attn\.k_proj\.bias and also has model\.layers\.n\.self_attn\.g_proj\.weight/,
  );
  assert.match(line(names('gpt2', /^$/, [])), /nearest supported one is 'gpt2'.*the same tensors/);
});

test('layers that keep a state are named; nothing is said of what is like nothing', () => {
  const states = ['model.layers.0.mamba.A_log', 'model.layers.0.mamba.in_proj.weight'];
  assert.match(
    line(names('llama', /layers\.0\.self_attn/, states)),
    /layers that keep a recurrent state \(model\.layers\.n\.mamba\.A_log/,
  );
  assert.doesNotMatch(line(new Set(['encoder.block.0.weight'])), /nearest/);
  assert.doesNotMatch(line(new Set()), /nearest/);
});
