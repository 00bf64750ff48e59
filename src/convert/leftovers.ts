/** Tensors that checkpoints contain although no text model computes with them. */

import type { SourceTensor } from '../checkpoint/source.ts';

/**
 * Buffers that were saved along with the weights: tables of rotary embeddings, numbers of positions. Their
 * values follow from the configuration.
 */
const buffers =
  /(^|\.)(rotary_emb(edding)?|rotary_pos_emb|rotary|rope)\.(\w+_)?(inv_freq|cos_cached|sin_cached|cos|sin|freqs|freqs_cis)$|(^|\.)(inv_freq|cos_cached|sin_cached|freqs_cis|position_ids|masked_bias|causal_mask|num_batches_tracked)$/;

/** Causal masks, (1, 1, positions, positions), under a name that could also be that of a bias. */
const masks = /(^|\.)(attn|attention|self_attn|self_attention)\.(bias|mask)$/;

/** Separate heads and towers, which text does not pass through. */
const otherHeads =
  /^(model\.)?(score|classifier|classification_head|value_head|v_head|reward_head|regression_head|qa_outputs|medusa_head|mtp_block|mtp_emb_norm|mtp_hidden_norm|mtp_linear_proj|visual|vision_tower|vision_model|vision_embed_tokens|audio_tower|mm_projector|multi_modal_projector)\./;

/** Whether a tensor is a buffer whose values follow from the configuration. */
export function isBuffer({ name, shape }: Pick<SourceTensor, 'name' | 'shape'>): boolean {
  const [batch, heads, queries, keys, ...more] = shape;
  const isMask = batch === 1 && heads === 1 && queries === keys && more.length === 0;
  return buffers.test(name) || (masks.test(name) && keys !== undefined && isMask);
}

/** Whether a tensor belongs to a head other than the one that predicts the next token. */
export function isOtherHead(name: string): boolean {
  return otherHeads.test(name);
}
