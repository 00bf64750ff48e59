/** EXAONE 3 and 3.5: the form of Llama with different tensor names. */

import { decoderFamily } from './decoder-family.ts';

export const exaone = decoderFamily(
  ['exaone'],
  () => ({
    norm: { kind: 'rms', eps: ['layer_norm_epsilon', 1e-5] },
    activation: 'silu',
    gate: 'linear',
    keys: { layers: ['num_layers', 'num_hidden_layers'] },
    prefixes: ['transformer.'],
    names: {
      tokens: 'wte',
      layers: 'h',
      finalNorm: 'ln_f',
      attentionNorm: 'ln_1',
      query: 'attn.attention.q_proj',
      key: 'attn.attention.k_proj',
      value: 'attn.attention.v_proj',
      out: 'attn.attention.out_proj',
      ffnNorm: 'ln_2',
      gate: 'c_fc_0',
      up: 'c_fc_1',
      down: 'c_proj',
    },
    bosId: 0,
    eosIds: [2],
  }),
  { activationKeys: ['activation_function'] },
);
