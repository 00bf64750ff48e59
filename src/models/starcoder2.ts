/** StarCoder2: the form of Llama with layer norms, biases everywhere, and no gate. */

import { boolean } from './config.ts';
import { decoderFamily } from './decoder-family.ts';
import { windowEverywhere } from './windows.ts';

export const starcoder2 = decoderFamily(['starcoder2'], (at) => {
  const bias = boolean(at, 'use_bias', true);
  return {
    norm: { kind: 'layer', eps: ['norm_epsilon', 1e-5] },
    activation: 'gelu_pytorch_tanh',
    gate: 'none',
    defaults: { positions: 4096, kvHeads: 2, tiedHead: true },
    windows: at.config.sliding_window === undefined ? [] : windowEverywhere(at),
    bias: { qkv: bias, out: bias, ffn: bias },
    names: { up: 'c_fc', down: 'c_proj' },
    bosId: 50_256,
    eosIds: [50_256],
  };
});
