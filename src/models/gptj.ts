/** GPT-J: parallel attention and FFN after one layer norm, adjacent rotary pairs, a head with a bias. */

import { InputError } from '../errors.ts';
import { optionalInteger } from './config.ts';
import { decoderFamily } from './decoder-family.ts';

export const gptj = decoderFamily(
  ['gptj'],
  () => ({
    norm: { kind: 'layer', eps: ['layer_norm_epsilon', 1e-5] },
    activation: 'gelu_new',
    gate: 'none',
    block: 'parallel',
    defaults: { positions: 2048, widening: 4 },
    keys: {
      hidden: ['n_embd', 'hidden_size'],
      layers: ['n_layer', 'num_hidden_layers'],
      heads: ['n_head', 'num_attention_heads'],
      kvHeads: [],
      neurons: ['n_inner'],
      positions: ['n_positions', 'max_position_embeddings'],
    },
    positions: (at, headDim, trained) => {
      const dims = optionalInteger(at, 'rotary_dim', 64) || headDim;
      if (dims % 2 !== 0 || dims > headDim) {
        throw new InputError(
          `'rotary_dim' is ${dims}: it must be even and at most the head size, ${headDim}`,
          { file: at.file },
        );
      }
      const scaling = { kind: 'none' } as const;
      return {
        positions: { kind: 'rotary', theta: 10_000, dims, pairs: 'interleaved', scaling },
        maxPositions: trained,
      };
    },
    bias: { ffn: true, head: true },
    prefixes: ['transformer.', ''],
    names: {
      tokens: 'wte',
      layers: 'h',
      finalNorm: 'ln_f',
      attentionNorm: 'ln_1',
      query: 'attn.q_proj',
      key: 'attn.k_proj',
      value: 'attn.v_proj',
      out: 'attn.out_proj',
      up: 'fc_in',
      down: 'fc_out',
    },
    bosId: 50_256,
    eosIds: [50_256],
  }),
  { activationKeys: ['activation_function'] },
);
