/**
 * Experts in GGUF files: one tensor, (experts, rows, columns), holds the same matrix of all experts of a
 * layer.
 */

import { InputError } from '../../errors.ts';
import { limits } from '../config.ts';
import type { GgufKeys } from './keys.ts';
import type { GgufFacts, Translated } from './translation.ts';

/** A file's metadata. */
interface Keyed {
  readonly keys: GgufKeys;
}

/** Tensors of a layer, with the names that most families use in Hugging Face checkpoints. */
export const expertNames = {
  ffn_gate_inp: 'mlp.gate',
  ffn_gate_exps: 'mlp.experts.gate_proj',
  ffn_up_exps: 'mlp.experts.up_proj',
  ffn_down_exps: 'mlp.experts.down_proj',
  ffn_gate_up_exps: 'mlp.experts.gate_up_proj',
} as const;

/** Those of an FFN beside the experts. */
export const sharedExpertNames = {
  ffn_gate_shexp: 'mlp.shared_expert.gate_proj',
  ffn_up_shexp: 'mlp.shared_expert.up_proj',
  ffn_down_shexp: 'mlp.shared_expert.down_proj',
  ffn_gate_inp_shexp: 'mlp.shared_expert_gate',
} as const;

/** The correction that is added to scores for the choice; its name has no dot in checkpoints. */
const correction = 'mlp.gate.e_score_correction';

const beside = (part: string) => `mlp.shared_experts.${part}`;

/** Names if routers choose by corrected scores, with an FFN beside the experts. */
export const correctedExpertNames = {
  ...expertNames,
  exp_probs_b: correction,
  ffn_gate_shexp: beside('gate_proj'),
  ffn_up_shexp: beside('up_proj'),
  ffn_down_shexp: beside('down_proj'),
} as const;

/** Gives the correction its name in checkpoints; other names stay. */
export function correctionAsStored(translated: Translated): Translated {
  const name = translated.name.replace(`${correction}.bias`, `${correction}_bias`);
  return { ...translated, name };
}

/** How many experts there are, how many a token takes, and the width of one. */
export function expertCounts({ keys }: Keyed) {
  return {
    count: keys.integer('expert_count', undefined, limits.experts),
    topK: keys.integer('expert_used_count', undefined, limits.experts),
    neurons: keys.integer('expert_feed_forward_length', undefined, limits.neurons),
  };
}

/** Names of the functions from router logits to scores, by their numbers in files. */
const gatings: ReadonlyMap<number, 'softmax' | 'sigmoid'> = new Map([
  [1, 'softmax'],
  [2, 'sigmoid'],
]);

/**
 * The function from a router's logits to scores; softmax if the file does not name one.
 * @throws InputError for an unsupported function
 */
export function gatingOf({ keys }: Keyed, { file }: GgufFacts): 'softmax' | 'sigmoid' {
  const named = keys.optionalNumber('expert_gating_func') ?? 0;
  const gating = named === 0 ? 'softmax' : gatings.get(named);
  if (gating !== undefined) return gating;
  throw new InputError(`expert_gating_func is ${named}, which is not supported`, { file });
}

/** The layers that have no router. */
export function layersWithoutExperts({
  keys,
  layers,
}: Keyed & { readonly layers: number }): number[] {
  return Array.from({ length: layers }, (_, layer) => layer).filter(
    (layer) => !keys.has(`blk.${layer}.ffn_gate_inp.weight`),
  );
}

/** @throws InputError for a mixture of experts of an architecture that supports none here */
export function refuseExperts({ keys }: Keyed, { file }: GgufFacts): void {
  const experts = keys.optionalNumber('expert_count') ?? 0;
  if (experts === 0) return;
  throw new InputError(`is a mixture of ${experts} experts, which is not supported`, { file });
}
