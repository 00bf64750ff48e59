/** InternLM2: the form of Llama, with queries, keys and values fused by KV head, and different names. */

import { boolean } from './config.ts';
import { decoderFamily } from './decoder-family.ts';

export const internlm2 = decoderFamily(['internlm2'], (at) => {
  const bias = boolean(at, 'bias', false);
  return {
    norm: { kind: 'rms', eps: ['rms_norm_eps', 1e-6] },
    activation: 'silu',
    gate: 'linear',
    bias: { qkv: bias, out: bias },
    fused: 'grouped',
    heads: ['output'],
    names: {
      tokens: 'tok_embeddings',
      attentionNorm: 'attention_norm',
      qkv: 'attention.wqkv',
      out: 'attention.wo',
      ffnNorm: 'ffn_norm',
      ffn: 'feed_forward',
      gate: 'w1',
      up: 'w3',
      down: 'w2',
    },
    bosId: 1,
    eosIds: [2],
  };
});
