/** InternLM3: the form of Llama with different configuration keys for biases. */

import { boolean } from './config.ts';
import { decoderFamily } from './decoder-family.ts';

export const internlm3 = decoderFamily(['internlm3'], (at) => {
  const attention = boolean(at, 'qkv_bias', boolean(at, 'attention_bias', false));
  const ffn = boolean(at, 'bias', boolean(at, 'mlp_bias', false));
  return {
    norm: { kind: 'rms', eps: ['rms_norm_eps', 1e-5] },
    activation: 'silu',
    gate: 'linear',
    defaults: { positions: 32_768, kvHeads: 2, headDim: 128 },
    bias: { qkv: attention, out: ffn, ffn },
    bosId: 1,
    eosIds: [2],
  };
});
