/** HunYuan, dense: the form of Llama with an RMS norm on each query and key head after its rotation. */

import { boolean } from './config.ts';
import { decoderFamily } from './decoder-family.ts';

export const hunyuan = decoderFamily(['hunyuan_v1_dense'], (at) => {
  const attention = boolean(at, 'attention_bias', false);
  return {
    norm: { kind: 'rms', eps: ['rms_norm_eps', 1e-5] },
    activation: 'silu',
    gate: 'linear',
    qkNorm: 'rms',
    attention: { qkNormLast: true },
    bias: { qkv: attention, out: attention },
    names: { queryNorm: 'self_attn.query_layernorm', keyNorm: 'self_attn.key_layernorm' },
    bosId: 1,
    eosIds: [2],
  };
});
