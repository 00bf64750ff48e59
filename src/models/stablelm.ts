/**
 * StableLM: the form of Llama with layer norms, rotary positions on a quarter of each head, and one norm in
 * parallel blocks.
 */

import { InputError } from '../errors.ts';
import { boolean } from './config.ts';
import { decoderFamily } from './decoder-family.ts';

export const stablelm = decoderFamily(['stablelm'], (at) => {
  if (boolean(at, 'qk_layernorm', false)) {
    throw new InputError("'qk_layernorm' is true: a separate norm for each head is not supported", {
      file: at.file,
    });
  }
  return {
    norm: { kind: 'layer', eps: ['layer_norm_eps', 1e-5] },
    activation: 'silu',
    gate: 'linear',
    block: boolean(at, 'use_parallel_residual', false) ? 'parallel' : 'sequential',
    rotaryShare: 0.25,
    evenHeads: true,
    defaults: { positions: 4096, kvHeads: 32 },
    bias: { qkv: boolean(at, 'use_qkv_bias', false) },
    bosId: 0,
    eosIds: [0],
  };
});
