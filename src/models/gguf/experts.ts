/** Experts in GGUF files: of a layer's experts each matrix is one tensor, (experts, rows, columns). */

import { InputError } from '../../errors.ts';
import { limits } from '../config.ts';
import type { GgufKeys } from './keys.ts';
import type { GgufFacts, Translated } from './translation.ts';

/** A file's metadata. */
interface Keyed {
  readonly keys: GgufKeys;
}

/** Tensors of a layer, by the names that most families have in Hugging Face's checkpoints. */
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

/** What is added to scores for the choice; checkpoints have it without a dot. */
const correction = 'mlp.gate.e_score_correction';

const beside = (part: string) => `mlp.shared_experts.${part}`;

/** Where routers choose by corrected scores, with an FFN beside the experts. */
export const correctedExpertNames = {
  ...expertNames,
  exp_probs_b: correction,
  ffn_gate_shexp: beside('gate_proj'),
  ffn_up_shexp: beside('up_proj'),
  ffn_down_shexp: beside('down_proj'),
} as const;

/** The correction under the name that checkpoints have for it; others stay. */
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

/** Names of how routers make scores of logits, by what files call them. */
const gatings: ReadonlyMap<number, 'softmax' | 'sigmoid'> = new Map([
  [1, 'softmax'],
  [2, 'sigmoid'],
]);

/**
 * How a router makes scores of its logits; by softmax where the file does not say.
 * @throws InputError for a way that is not supported
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

/** @throws InputError for a mixture of experts under an architecture that is not one here */
export function refuseExperts({ keys }: Keyed, { file }: GgufFacts): void {
  const experts = keys.optionalNumber('expert_count') ?? 0;
  if (experts === 0) return;
  throw new InputError(`is a mixture of ${experts} experts, which is not supported`, { file });
}
