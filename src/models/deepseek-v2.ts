/** DeepSeek V2: attention with latent vectors, dense first layers, then experts with an FFN beside them. */

import { InputError } from '../errors.ts';
import {
  boolean,
  type ConfigFile,
  firstInteger,
  integer,
  limits,
  number,
  optionalInteger,
  positiveNumber,
  text,
} from './config.ts';
import { decoderFamily } from './decoder-family.ts';
import { commonExperts, type DecoderTraits } from './decoder-traits.ts';
import type { ExpertsSpec, LatentSpec } from './spec.ts';

/** Epsilon of the norms of latent vectors: the configuration gives only that of the other norms. */
const latentEps = 1e-6;

export const deepseekV2 = decoderFamily(['deepseek_v2'], (at) => ({
  ...latentTraits(at),
  defaults: { positions: 2048 },
  bosId: 1,
  eosIds: [2],
  experts: { spec: expertsOf(at), forms: [commonExperts], shared: sharedExperts },
}));

/** Traits that all generations of DeepSeek share. */
export function latentTraits(at: ConfigFile) {
  const heads = integer(at, 'num_attention_heads', limits.heads);
  const own = firstInteger(at, ['qk_nope_head_dim'], 128, limits.headDim);
  const latent = latentOf(at);
  const headDim = own + latent.rope;
  const attention = boolean(at, 'attention_bias', false);
  return {
    norm: { kind: 'rms', eps: ['rms_norm_eps', 1e-6] },
    activation: 'silu',
    gate: 'linear',
    headGeometry: { headDim, kvHeads: heads },
    interleaved: boolean(at, 'rope_interleave', true),
    attention: { latent, scale: headDim ** -0.5 * stretchedScale(at) },
    bias: { qkv: attention, out: attention, ffn: boolean(at, 'mlp_bias', false) },
  } as const satisfies Partial<DecoderTraits>;
}

export const sharedExperts = { source: 'mlp.shared_experts' } as const;

function latentOf(at: ConfigFile): LatentSpec {
  return {
    queryRank: optionalInteger(at, 'q_lora_rank', 1536, limits.hiddenSize),
    rank: firstInteger(at, ['kv_lora_rank'], 512, limits.hiddenSize),
    rope: firstInteger(at, ['qk_rope_head_dim'], 64, limits.headDim),
    value: firstInteger(at, ['v_head_dim'], 128, limits.headDim),
    eps: latentEps,
  };
}

/**
 * The factor on scores for longer sequences than the model was trained on: the square of their attention
 * factor.
 */
function stretchedScale(at: ConfigFile): number {
  const rope = { ...at, config: objectOf(at.config.rope_scaling ?? at.config.rope_parameters) };
  const weight = number(rope, 'mscale_all_dim', 0);
  const factor = number(rope, 'factor', 1);
  return weight === 0 || factor <= 1 ? 1 : (0.1 * weight * Math.log(factor) + 1) ** 2;
}

function objectOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? { ...value } : {};
}

/**
 * Traits that the experts of all generations share.
 * @param dense how many of the first layers have no experts if the configuration does not say
 */
export function routedExperts(
  at: ConfigFile,
  defaults: { readonly [name in 'count' | 'neurons' | 'shared' | 'dense' | 'scale']: number },
) {
  const layers = integer(at, 'num_hidden_layers', limits.layers);
  const dense = optionalInteger(at, 'first_k_dense_replace', defaults.dense) ?? 0;
  const neurons = firstInteger(at, ['moe_intermediate_size'], defaults.neurons, limits.neurons);
  const count = firstInteger(
    at,
    ['n_routed_experts', 'num_experts'],
    defaults.count,
    limits.experts,
  );
  return {
    count,
    neurons,
    shared: neurons * firstInteger(at, ['n_shared_experts'], defaults.shared, limits.experts),
    sharedGate: false,
    denseLayers: Array.from({ length: Math.min(dense, layers) }, (_, layer) => layer),
    scale: positiveNumber(at, 'routed_scaling_factor', defaults.scale),
  } as const satisfies Partial<ExpertsSpec>;
}

function expertsOf(at: ConfigFile): ExpertsSpec {
  const groups = groupsOf(at, text(at, 'topk_method', 'greedy'));
  return {
    ...routedExperts(at, { count: 64, neurons: 1407, shared: 2, dense: 0, scale: 1 }),
    topK: firstInteger(at, ['num_experts_per_tok'], undefined, limits.experts),
    score: 'softmax',
    normalise: false,
    ...(groups && { groups }),
  };
}

function groupsOf(at: ConfigFile, method: string): ExpertsSpec['groups'] | null {
  if (method === 'greedy') return null;
  if (method === 'group_limited_greedy') {
    const most = limits.experts;
    return { count: integer(at, 'n_group', most), topK: integer(at, 'topk_group', most), best: 1 };
  }
  throw new InputError(
    `topk_method '${method}' is not supported`,
    { file: at.file },
    'Supported: greedy, group_limited_greedy',
  );
}
