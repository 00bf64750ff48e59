/** Tensors that checkpoints hold and no text model computes with. */

import type { SourceTensor } from '../checkpoint/source.ts';

/**
 * Buffers that were saved along with the weights: tables of rotary embeddings, numbers of positions. What
 * they hold follows from the configuration.
 */
const buffers =
  /(^|\.)(rotary_emb(edding)?|rotary_pos_emb|rotary|rope)\.(\w+_)?(inv_freq|cos_cached|sin_cached|cos|sin|freqs|freqs_cis)$|(^|\.)(inv_freq|cos_cached|sin_cached|freqs_cis|position_ids|masked_bias|causal_mask|num_batches_tracked)$/;

/** Causal masks, (1, 1, positions, positions), under a name that might as well be a bias. */
const masks = /(^|\.)(attn|attention|self_attn|self_attention)\.(bias|mask)$/;

/** Heads and towers of their own, which the text does not pass through. */
const otherHeads =
  /^(model\.)?(score|classifier|classification_head|value_head|v_head|reward_head|regression_head|qa_outputs|medusa_head|mtp_block|mtp_emb_norm|mtp_hidden_norm|mtp_linear_proj|visual|vision_tower|vision_model|vision_embed_tokens|audio_tower|mm_projector|multi_modal_projector)\./;

/** Whether a tensor is a buffer that configurations say all about. */
export function isBuffer({ name, shape }: Pick<SourceTensor, 'name' | 'shape'>): boolean {
  const [batch, heads, queries, keys, ...more] = shape;
  const isMask = batch === 1 && heads === 1 && queries === keys && more.length === 0;
  return buffers.test(name) || (masks.test(name) && keys !== undefined && isMask);
}

/** Whether a tensor belongs to another head of the model than the one that tells the next token. */
export function isOtherHead(name: string): boolean {
  return otherHeads.test(name);
}
