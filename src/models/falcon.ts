/**
 * Falcon: falcon-7b (parallel attention and FFN after one norm, one KV head for all queries),
 * falcon-40b and 180b (the "new decoder": two norms, grouped queries), falcon-rw (sequential blocks, ALiBi,
 * biases), and their relufied descendants. `RefinedWebModel` and `RefinedWeb` are former names of the first
 * two.
 */

import { InputError } from '../errors.ts';
import {
  activationOf,
  boolean,
  type ConfigFile,
  derivedHeadDim,
  firstInteger,
  integer,
  kvHeadsOf,
  limits,
  optionalInteger,
  positiveNumber,
  refuseTrue,
  tokenId,
  tokenIds,
} from './config.ts';
import { RecipeBuilder } from './recipe-builder.ts';
import { rotaryOf } from './rotary-config.ts';
import {
  type CheckpointFacts,
  type Family,
  type ModelRecipe,
  type ModelSpec,
  tensorNames,
} from './spec.ts';

const activationKeys = ['activation', 'hidden_act', 'activation_function'];

export const falcon: Family = {
  modelTypes: ['falcon', 'RefinedWebModel', 'RefinedWeb'],
  activationKeys,
  recipe(facts) {
    const at = { config: facts.config, file: facts.configFile };
    return recipeOf(describe(at), facts, boolean(at, 'bias', false));
  },
};

function describe(at: ConfigFile): ModelSpec {
  const { config, file } = at;
  const hiddenSize = firstInteger(at, ['n_embed', 'hidden_size'], undefined, limits.hiddenSize);
  const heads = firstInteger(at, ['num_attention_heads', 'n_head'], undefined, limits.heads);
  const headDim = derivedHeadDim(at, hiddenSize, heads);
  const newDecoder = boolean(at, 'new_decoder_architecture', config.model_type === 'RefinedWeb');
  const parallel = newDecoder || boolean(at, 'parallel_attn', true);
  if (newDecoder && !boolean(at, 'parallel_attn', true)) {
    throw new InputError(
      "'new_decoder_architecture' is true, which requires 'parallel_attn', but 'parallel_attn' is false",
      { file },
    );
  }
  refuseTrue(at, 'apply_residual_connection_post_layernorm');
  const norms = optionalInteger(at, 'num_ln_in_parallel_attn', 0) || (newDecoder ? 2 : 1);
  if (norms === 2 && !newDecoder) {
    throw new InputError(
      "'num_ln_in_parallel_attn' is 2, which requires 'new_decoder_architecture', but that is not true",
      { file },
    );
  }
  const trained = firstInteger(at, ['max_position_embeddings'], 2048);
  const positions = boolean(at, 'alibi', false)
    ? { positions: { kind: 'alibi' } as const, maxPositions: trained }
    : rotaryOf(at, headDim, trained, { partial: null });
  return {
    family: 'falcon',
    vocabSize: integer(at, 'vocab_size', limits.vocabSize),
    hiddenSize,
    embeddingSize: hiddenSize,
    layers: firstInteger(at, ['num_hidden_layers', 'n_layer'], undefined, limits.layers),
    block: parallel ? 'parallel' : 'sequential',
    attention: {
      heads,
      // Without grouped queries, all query heads share one KV head, or each has its own.
      kvHeads: newDecoder
        ? kvHeadsOf(at, ['num_kv_heads', 'n_head_kv'], heads)
        : boolean(at, 'multi_query', true)
          ? 1
          : heads,
      headDim,
      scale: headDim ** -0.5,
      qkNorm: 'none',
      windows: [],
    },
    ...positions,
    norm: {
      kind: 'layer',
      eps: positiveNumber(at, 'layer_norm_epsilon', 1e-5),
      placement: 'pre',
      shared: parallel && !(newDecoder && norms === 2),
      final: true,
    },
    ffn: {
      neurons: firstInteger(at, ['ffn_hidden_size'], 4 * hiddenSize, limits.neurons),
      ...activationOf(at, 'gelu', ...activationKeys),
      gate: 'none',
    },
    tiedHead: boolean(at, 'tie_word_embeddings', true),
    bosId: tokenId(at, 'bos_token_id', 11),
    eosIds: tokenIds(at, 'eos_token_id', [11]),
  };
}

function recipeOf(spec: ModelSpec, facts: CheckpointFacts, bias: boolean): ModelRecipe {
  const parallel = spec.block === 'parallel';
  const twoNorms = parallel && !spec.norm.shared;
  const build = new RecipeBuilder(spec, facts);
  const norm = (name: string, source: string) => build.norm(name, { source, bias: true });

  const prefix = build.prefix(['transformer.', ''], 'word_embeddings.weight', 'h.0.');
  build.tokens(`${prefix}word_embeddings`, 'lm_head');
  for (let layer = 0; layer < spec.layers; layer++) {
    const from = `${prefix}h.${layer}`;
    const linear = (source: string) => ({ source: `${from}.${source}`, bias });
    norm(tensorNames.attentionNorm(layer), `${from}.${twoNorms ? 'ln_attn' : 'input_layernorm'}`);
    build.fusedQueryKeyValue(layer, linear('self_attention.query_key_value'));
    build.attentionOut(layer, linear('self_attention.dense'));
    if (twoNorms) norm(tensorNames.ffnNorm(layer), `${from}.ln_mlp`);
    if (!parallel) norm(tensorNames.ffnNorm(layer), `${from}.post_attention_layernorm`);
    build.ffn(layer, { up: linear('mlp.dense_h_to_4h'), down: linear('mlp.dense_4h_to_h') });
  }
  norm(tensorNames.finalNorm, `${prefix}ln_f`);
  build.head({ source: 'lm_head', bias: false });
  return build.recipe;
}
