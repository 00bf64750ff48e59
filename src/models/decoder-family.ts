/**
 * Families of the form that most decoders have in the Hugging Face world: `model.embed_tokens`,
 * `model.layers.<n>.self_attn` and `.mlp`, `lm_head`, rotary positions. A family says in what it
 * differs.
 */

import {
  activationOf,
  boolean,
  type ConfigFile,
  firstInteger,
  headDimOf,
  integer,
  integers,
  kvHeadsOf,
  optionalInteger,
  positiveNumber,
} from './config.ts';
import { RecipeBuilder } from './recipe-builder.ts';
import { type RotaryDefaults, rotaryOf } from './rotary-config.ts';
import {
  type CheckpointFacts,
  type Family,
  type ModelRecipe,
  type ModelSpec,
  role,
} from './spec.ts';

/** What a family has of its own. */
export interface DecoderTraits {
  readonly norm: {
    readonly kind: 'layer' | 'rms';
    /** Name and default of its epsilon in the configuration. */
    readonly eps: readonly [key: string, fallback: number];
    /** Is added to its weights. */
    readonly plus?: number;
  };
  readonly activation: string;
  readonly gate: ModelSpec['ffn']['gate'];
  readonly block?: ModelSpec['block'];
  readonly rotary?: Partial<RotaryDefaults>;
  readonly qkNorm?: ModelSpec['attention']['qkNorm'];
  readonly windows?: ModelSpec['attention']['windows'];
  /** Which projections have biases; none unless said. */
  readonly bias?: Partial<Record<'qkv' | 'out' | 'ffn' | 'head', boolean>>;
  /** BOS and EOS where the configuration does not say. */
  readonly bosId: number | null;
  readonly eosIds: readonly number[];
  /** Names within a layer or the model, where they are not the common ones. */
  readonly names?: Partial<Record<keyof typeof commonNames, string>>;
  /** Whether query, key and value are one projection, `self_attn.query_key_value`. */
  readonly fused?: boolean;
  /** Tensors of a layer that carry nothing the model needs. */
  readonly ignored?: readonly string[];
}

const commonNames = {
  out: 'o_proj',
  queryNorm: 'q_norm',
  keyNorm: 'k_norm',
  gate: 'gate_proj',
  up: 'up_proj',
  down: 'down_proj',
  finalNorm: 'norm',
};

/** A family whose traits follow from the configuration. */
export function decoderFamily(
  modelTypes: readonly string[],
  traitsOf: (at: ConfigFile) => DecoderTraits,
): Family {
  return {
    modelTypes,
    recipe(facts) {
      const at = { config: facts.config, file: facts.configFile };
      const traits = traitsOf(at);
      return recipeOf(describe(at, modelTypes[0] ?? '', traits), traits, facts);
    },
  };
}

function describe(at: ConfigFile, family: string, traits: DecoderTraits): ModelSpec {
  const hiddenSize = integer(at, 'hidden_size');
  const heads = integer(at, 'num_attention_heads');
  const headDim = headDimOf(at, hiddenSize, heads);
  const block = traits.block ?? 'sequential';
  const trained = firstInteger(at, ['max_position_embeddings'], 2048);
  const rotary = { theta: 10_000, partial: 1, ...traits.rotary };
  return {
    family,
    vocabSize: integer(at, 'vocab_size'),
    hiddenSize,
    embeddingSize: hiddenSize,
    layers: integer(at, 'num_hidden_layers'),
    block,
    attention: {
      heads,
      kvHeads: kvHeadsOf(at, ['num_key_value_heads'], heads),
      headDim,
      scale: headDim ** -0.5,
      qkNorm: traits.qkNorm ?? 'none',
      windows: traits.windows ?? [],
    },
    ...rotaryOf(at, headDim, trained, rotary),
    norm: {
      kind: traits.norm.kind,
      eps: positiveNumber(at, ...traits.norm.eps),
      placement: 'pre',
      shared: block === 'parallel',
      final: true,
    },
    ffn: {
      neurons: integer(at, 'intermediate_size'),
      ...activationOf(at, traits.activation, 'hidden_act'),
      gate: traits.gate,
    },
    tiedHead: boolean(at, 'tie_word_embeddings', false),
    bosId: optionalInteger(at, 'bos_token_id', traits.bosId),
    eosIds: integers(at, 'eos_token_id', [...traits.eosIds]),
  };
}

function recipeOf(spec: ModelSpec, traits: DecoderTraits, facts: CheckpointFacts): ModelRecipe {
  const names = { ...commonNames, ...traits.names };
  const bias = traits.bias ?? {};
  const { plus } = traits.norm;
  const prefix = facts.tensorNames.has('embed_tokens.weight') ? '' : 'model.';

  const build = new RecipeBuilder(spec, facts);
  const linear = (source: string, kind: keyof typeof bias) => ({
    source,
    bias: bias[kind] ?? false,
  });
  const norm = (name: string, source: string) =>
    build.norm(name, {
      source,
      bias: spec.norm.kind === 'layer',
      ...(plus === undefined ? {} : { plus }),
    });

  build.add(role.tokens, [spec.vocabSize, spec.hiddenSize], `${prefix}embed_tokens.weight`);
  for (let layer = 0; layer < spec.layers; layer++) {
    const from = `${prefix}layers.${layer}`;
    const attention = `${from}.self_attn`;
    norm(role.attentionNorm(layer), `${from}.input_layernorm`);
    if (traits.fused) {
      build.fusedQueryKeyValue(layer, linear(`${attention}.query_key_value`, 'qkv'));
    } else {
      const [query, key, value] = (['q_proj', 'k_proj', 'v_proj'] as const).map((name) =>
        linear(`${attention}.${name}`, 'qkv'),
      );
      if (query && key && value) build.queryKeyValue(layer, query, key, value);
    }
    const { qkNorm, headDim } = spec.attention;
    if (qkNorm !== 'none') {
      const ofHead = { bias: qkNorm === 'layer', width: headDim };
      build.norm(role.queryNorm(layer), { source: `${attention}.${names.queryNorm}`, ...ofHead });
      build.norm(role.keyNorm(layer), { source: `${attention}.${names.keyNorm}`, ...ofHead });
    }
    build.attentionOut(layer, linear(`${attention}.${names.out}`, 'out'));
    if (!spec.norm.shared) norm(role.ffnNorm(layer), `${from}.post_attention_layernorm`);
    build.ffn(layer, {
      ...(spec.ffn.gate === 'none' ? {} : { gate: linear(`${from}.mlp.${names.gate}`, 'ffn') }),
      up: linear(`${from}.mlp.${names.up}`, 'ffn'),
      down: linear(`${from}.mlp.${names.down}`, 'ffn'),
    });
    const ignored = ['self_attn.rotary_emb.inv_freq', ...(traits.ignored ?? [])];
    build.ignore(...ignored.map((name) => `${from}.${name}`));
  }
  norm(role.finalNorm, `${prefix}${names.finalNorm}`);
  build.head(linear('lm_head', 'head'));
  return build.recipe;
}
