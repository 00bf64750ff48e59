/**
 * OPT (facebook/opt-125m ... opt-66b, galactica and relatives): learned positions with an offset of
 * 2, layer norm before or after each sublayer, fc1 -> relu or gelu -> fc2, optional projections
 * between a narrow embedding and the residual stream (opt-350m).
 */

import {
  activationOf,
  boolean,
  evenHeadDim,
  integer,
  limits,
  optionalInteger,
  tokenId,
  tokenIds,
} from './config.ts';
import { RecipeBuilder } from './recipe-builder.ts';
import type { CheckpointFacts, Family, ModelRecipe, ModelSpec } from './spec.ts';
import { tensorNames } from './spec.ts';

/** Real checkpoints use both; transformers writes the first. */
const prefixes = ['model.decoder.', 'decoder.', ''];

/** torch.nn.LayerNorm's default; OPT's config has no field for it. */
const layerNormEps = 1e-5;
const positionOffset = 2;

const activationKeys = ['activation_function'];

export const opt: Family = {
  modelTypes: ['opt'],
  activationKeys,
  recipe(facts) {
    return recipeOf(describe(facts), facts);
  },
};

function describe({ config, configFile }: CheckpointFacts): ModelSpec {
  const at = { config, file: configFile };
  const hiddenSize = integer(at, 'hidden_size', limits.hiddenSize);
  const heads = integer(at, 'num_attention_heads', limits.heads);
  const headDim = evenHeadDim(at, hiddenSize, heads);
  const placement = boolean(at, 'do_layer_norm_before', true) ? 'pre' : 'post';
  return {
    family: 'opt',
    vocabSize: integer(at, 'vocab_size', limits.vocabSize),
    hiddenSize,
    embeddingSize:
      optionalInteger(at, 'word_embed_proj_dim', hiddenSize, limits.hiddenSize) || hiddenSize,
    layers: integer(at, 'num_hidden_layers', limits.layers),
    maxPositions: integer(at, 'max_position_embeddings', limits.storedPositions),
    block: 'sequential',
    attention: {
      heads,
      kvHeads: heads,
      headDim,
      scale: headDim ** -0.5,
      qkNorm: 'none',
      windows: [],
    },
    positions: { kind: 'learned', offset: positionOffset },
    norm: {
      kind: 'layer',
      eps: layerNormEps,
      placement,
      shared: false,
      final: placement === 'pre' && !boolean(at, '_remove_final_layer_norm', false),
    },
    ffn: {
      neurons: integer(at, 'ffn_dim', limits.neurons),
      ...activationOf(at, 'relu', ...activationKeys),
      gate: 'none',
    },
    tiedHead: boolean(at, 'tie_word_embeddings', true),
    bosId: tokenId(at, 'bos_token_id', 2),
    eosIds: tokenIds(at, 'eos_token_id', [2]),
  };
}

function recipeOf(spec: ModelSpec, facts: CheckpointFacts): ModelRecipe {
  const { config, configFile } = facts;
  const at = { config, file: configFile };
  const bias = boolean(at, 'enable_bias', true);
  const affine = boolean(at, 'layer_norm_elementwise_affine', true);
  const { hiddenSize: hidden, embeddingSize: embedding } = spec;

  const build = new RecipeBuilder(spec, facts);
  const norm = (name: string, source: string) => {
    if (affine) build.norm(name, { source, bias: true });
  };
  const linear = (source: string) => ({ source, bias });

  const prefix = build.prefix(prefixes, 'embed_tokens.weight', 'layers.0.');
  build.tokens(`${prefix}embed_tokens`, 'lm_head');
  build.add(
    tensorNames.positions,
    [spec.maxPositions + positionOffset, hidden],
    `${prefix}embed_positions.weight`,
  );
  if (embedding !== hidden) {
    build.add(tensorNames.projectIn, [hidden, embedding], `${prefix}project_in.weight`);
    build.add(tensorNames.projectOut, [embedding, hidden], `${prefix}project_out.weight`);
  }
  for (let layer = 0; layer < spec.layers; layer++) {
    const from = `${prefix}layers.${layer}`;
    const attention = `${from}.self_attn`;
    norm(tensorNames.attentionNorm(layer), `${from}.self_attn_layer_norm`);
    build.queryKeyValue(
      layer,
      linear(`${attention}.q_proj`),
      linear(`${attention}.k_proj`),
      linear(`${attention}.v_proj`),
    );
    build.attentionOut(layer, linear(`${attention}.out_proj`));
    norm(tensorNames.ffnNorm(layer), `${from}.final_layer_norm`);
    build.ffn(layer, { up: linear(`${from}.fc1`), down: linear(`${from}.fc2`) });
  }
  if (spec.norm.final) norm(tensorNames.finalNorm, `${prefix}final_layer_norm`);
  build.head({ source: 'lm_head', bias: false });
  build.ignore(`${prefix}version`);
  return build.recipe;
}
