/**
 * BitNet b1.58: Llama's form with squared ReLU gates, a norm before each projection that ends a sublayer,
 * and, where `quantization_config` says so (ternary-config.ts), ternary weights and rounded inputs.
 */

import { boolean } from './config.ts';
import { decoderFamily } from './decoder-family.ts';

export const bitnet = decoderFamily(['bitnet'], (at) => {
  const attention = boolean(at, 'attention_bias', false);
  return {
    norm: { kind: 'rms', eps: ['rms_norm_eps', 1e-5] },
    innerNorms: true,
    activation: 'relu2',
    gate: 'linear',
    theta: 500_000,
    bias: { qkv: attention, out: attention },
    bosId: 128_000,
    eosIds: [128_001],
  };
});
