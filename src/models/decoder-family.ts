/**
 * Families of the form that most decoders have in the Hugging Face world: `model.embed_tokens`,
 * `model.layers.<n>.self_attn` and `.mlp`, `lm_head`, rotary positions. A family says in what it
 * differs.
 */

import {
  activationOf,
  boolean,
  type ConfigFile,
  derivedHeadDim,
  firstInteger,
  headDimOf,
  integer,
  kvHeadsOf,
  limits,
  positiveNumber,
  tokenId,
  tokenIds,
} from './config.ts';
import { commonExpertNames, type ExpertNames } from './expert-recipe.ts';
import { buildLatentAttention } from './latent-recipe.ts';
import { type Linear, RecipeBuilder } from './recipe-builder.ts';
import { rotaryOf } from './rotary-config.ts';
import {
  type CheckpointFacts,
  type ExpertsSpec,
  expertsOf,
  type Family,
  type ModelRecipe,
  type ModelSpec,
  tensorNames,
} from './spec.ts';
import { headNormWidths } from './spec-tensors.ts';

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
  /** Share of a head's values that are turned, where the configuration does not say; all of them, always. */
  readonly rotaryShare?: number;
  /** What the configuration means where it does not say; the form's own defaults unless given. */
  readonly defaults?: {
    readonly positions?: number;
    readonly kvHeads?: number;
    readonly headDim?: number;
  };
  /** Heads of which the configuration's keys say something else. */
  readonly heads?: { readonly headDim: number; readonly kvHeads: number };
  /** Whether heads are an equal share of the hidden size, whatever `head_dim` says. */
  readonly evenHeads?: boolean;
  readonly qkNorm?: ModelSpec['attention']['qkNorm'];
  readonly windows?: ModelSpec['attention']['windows'];
  /** What else attention does. */
  readonly attention?: Partial<
    Pick<ModelSpec['attention'], 'scale' | 'qkNormOver' | 'clip' | 'sinks' | 'latent'>
  >;
  /** Factors on what flows through. */
  readonly scales?: Partial<Pick<ModelSpec, 'embeddingScale' | 'residualScale' | 'logitScale'>>;
  /** Of gates that are clamped. */
  readonly clamped?: ModelSpec['ffn']['clamped'];
  /** The base of the rotary embedding where the configuration does not say. */
  readonly theta?: number;
  /** Whether pairs of a rotary embedding lie side by side. */
  readonly interleaved?: boolean;
  /** Of mixtures of experts. */
  readonly experts?: ExpertTraits;
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

/** The experts of a family. */
export interface ExpertTraits {
  readonly spec: ExpertsSpec;
  /** In each of the forms that its checkpoints have: the first whose router is there, else the first. */
  readonly forms: readonly [ExpertForm, ...ExpertForm[]];
  /** The FFN beside them, and the row whose product with the input tells its share. */
  readonly shared?: { readonly source: string; readonly gate?: string };
}

/** What a router and its experts are called, below a layer. */
export interface ExpertForm {
  readonly router: Linear;
  readonly names: ExpertNames;
}

/** The form of most families. */
export const commonExperts: ExpertForm = {
  router: { source: 'mlp.gate', bias: false },
  names: commonExpertNames,
};

const commonNames = {
  out: 'o_proj',
  queryNorm: 'q_norm',
  keyNorm: 'k_norm',
  sinks: 'sinks',
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
  const hiddenSize = integer(at, 'hidden_size', limits.hiddenSize);
  const heads = integer(at, 'num_attention_heads', limits.heads);
  const { defaults = {} } = traits;
  const byConfig = () =>
    traits.evenHeads
      ? derivedHeadDim(at, hiddenSize, heads)
      : headDimOf(at, hiddenSize, heads, defaults.headDim);
  const headDim = traits.heads?.headDim ?? byConfig();
  const block = traits.block ?? 'sequential';
  const trained = firstInteger(at, ['max_position_embeddings'], defaults.positions ?? 2048);
  const partial = traits.rotaryShare ?? null;
  const { theta, attention } = traits;
  const { positions, maxPositions } = rotaryOf(at, attention?.latent?.rope ?? headDim, trained, {
    partial,
    ...(theta !== undefined && { theta }),
  });
  return {
    family,
    vocabSize: integer(at, 'vocab_size', limits.vocabSize),
    hiddenSize,
    embeddingSize: hiddenSize,
    layers: integer(at, 'num_hidden_layers', limits.layers),
    block,
    attention: {
      heads,
      // A fused projection has one for each query head.
      kvHeads:
        traits.heads?.kvHeads ??
        (traits.fused ? heads : kvHeadsOf(at, ['num_key_value_heads'], heads, defaults.kvHeads)),
      headDim,
      scale: headDim ** -0.5,
      qkNorm: traits.qkNorm ?? 'none',
      windows: traits.windows ?? [],
      ...traits.attention,
    },
    ...traits.scales,
    ...{ positions: traits.interleaved ? { ...positions, pairs: 'interleaved' } : positions },
    maxPositions,
    norm: {
      kind: traits.norm.kind,
      eps: positiveNumber(at, ...traits.norm.eps),
      placement: 'pre',
      shared: block === 'parallel',
      final: true,
    },
    ffn: {
      neurons: integer(at, 'intermediate_size', limits.neurons),
      ...activationOf(at, traits.activation, 'hidden_act'),
      gate: traits.gate,
      ...(traits.clamped && { clamped: traits.clamped }),
      ...(traits.experts && { experts: traits.experts.spec }),
    },
    tiedHead: boolean(at, 'tie_word_embeddings', false),
    bosId: tokenId(at, 'bos_token_id', traits.bosId),
    eosIds: tokenIds(at, 'eos_token_id', traits.eosIds),
  };
}

function recipeOf(spec: ModelSpec, traits: DecoderTraits, facts: CheckpointFacts): ModelRecipe {
  const names = { ...commonNames, ...traits.names };
  const bias = traits.bias ?? {};
  const { plus } = traits.norm;
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

  const prefix = build.prefix(['model.', ''], 'embed_tokens.weight', 'layers.0.');
  build.tokens(`${prefix}embed_tokens`, 'lm_head');
  for (let layer = 0; layer < spec.layers; layer++) {
    const from = `${prefix}layers.${layer}`;
    const attention = `${from}.self_attn`;
    norm(tensorNames.attentionNorm(layer), `${from}.input_layernorm`);
    const { latent } = spec.attention;
    if (latent !== undefined) {
      const place = { layer, from: attention, bias: bias.qkv ?? false };
      buildLatentAttention(build, spec, latent, place);
    } else if (traits.fused) {
      build.fusedQueryKeyValue(layer, linear(`${attention}.query_key_value`, 'qkv'));
    } else {
      const [query, key, value] = (['q_proj', 'k_proj', 'v_proj'] as const).map((name) =>
        linear(`${attention}.${name}`, 'qkv'),
      );
      if (query && key && value) build.queryKeyValue(layer, query, key, value);
    }
    const { qkNorm, heads, sinks } = spec.attention;
    if (qkNorm !== 'none') {
      const { query, key } = headNormWidths(spec);
      const layerNorm = qkNorm === 'layer';
      build.norm(tensorNames.queryNorm(layer), {
        ...{ source: `${attention}.${names.queryNorm}`, bias: layerNorm, width: query },
      });
      build.norm(tensorNames.keyNorm(layer), {
        ...{ source: `${attention}.${names.keyNorm}`, bias: layerNorm, width: key },
      });
    }
    if (sinks) build.add(tensorNames.sinks(layer), [heads], `${attention}.${names.sinks}`);
    build.attentionOut(layer, linear(`${attention}.${names.out}`, 'out'));
    if (!spec.norm.shared) norm(tensorNames.ffnNorm(layer), `${from}.post_attention_layernorm`);
    const ffn = (prefix: string) => ({
      ...(spec.ffn.gate === 'none' ? {} : { gate: linear(`${prefix}.${names.gate}`, 'ffn') }),
      up: linear(`${prefix}.${names.up}`, 'ffn'),
      down: linear(`${prefix}.${names.down}`, 'ffn'),
    });
    const { experts } = traits;
    if (experts === undefined || expertsOf(spec, layer) === null) {
      build.ffn(layer, ffn(`${from}.mlp`));
    } else {
      const { forms, shared } = experts;
      const present = forms.find(({ router }) => build.has(`${from}.${router.source}.weight`));
      const { router, names: expertNames } = present ?? forms[0];
      const source = `${from}.${router.source}`;
      build.experts(layer, from, { ...router, source }, expertNames);
      if (shared !== undefined) {
        const gate = shared.gate === undefined ? undefined : `${from}.${shared.gate}`;
        build.sharedFfn(layer, ffn(`${from}.${shared.source}`), gate);
      }
    }
    build.ignore(...(traits.ignored ?? []).map((name) => `${from}.${name}`));
  }
  norm(tensorNames.finalNorm, `${prefix}${names.finalNorm}`);
  build.head(linear('lm_head', 'head'));
  return build.recipe;
}
