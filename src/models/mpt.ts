/** MPT: ALiBi, layer norms without biases, queries, keys and values stacked and optionally clipped. */

import { isJsonObject } from '../checkpoint/json-file.ts';
import { InputError } from '../errors.ts';
import { boolean, type ConfigFile, optionalPositive } from './config.ts';
import { decoderFamily } from './decoder-family.ts';

export const mpt = decoderFamily(['mpt'], (at) => {
  const { config, file } = at;
  const attention = { config: isJsonObject(config.attn_config) ? config.attn_config : {}, file };
  const refused = refusedOf(at, attention);
  if (refused !== undefined) {
    throw new InputError(`'${refused}' has a value that is not supported in this family`, { file });
  }
  const [clip, scale, logitScale] = [
    optionalPositive(attention, 'clip_qkv', null),
    optionalPositive(attention, 'softmax_scale', null),
    optionalPositive(at, 'logit_scale', null),
  ];
  const steepest = optionalPositive(attention, 'alibi_bias_max', 8) ?? 8;
  return {
    norm: { kind: 'layer', eps: ['layer_norm_epsilon', 1e-5], bias: false },
    activation: 'gelu',
    gate: 'none',
    defaults: { widening: 4, tiedHead: true },
    keys: {
      hidden: ['d_model', 'hidden_size'],
      layers: ['n_layers', 'num_hidden_layers'],
      heads: ['n_heads', 'num_attention_heads'],
      kvHeads: [],
      neurons: [],
      positions: ['max_seq_len'],
    },
    attention: { ...(clip !== null && { clip }), ...(scale !== null && { scale }) },
    scales: logitScale === null ? {} : { logitScale },
    positions: (_at, _headDim, trained) => ({
      positions: { kind: 'alibi', form: 'plain', slopes: 'above', steepest },
      maxPositions: trained,
    }),
    fused: 'stacked',
    prefixes: ['transformer.', ''],
    names: {
      tokens: 'wte',
      layers: 'blocks',
      finalNorm: 'norm_f',
      attentionNorm: 'norm_1',
      qkv: 'attn.Wqkv',
      out: 'attn.out_proj',
      ffnNorm: 'norm_2',
      ffn: 'ffn',
    },
    bosId: null,
    eosIds: [],
  };
});

/** The first field with an unsupported value. */
function refusedOf(at: ConfigFile, attention: ConfigFile): string | undefined {
  if (!boolean(attention, 'alibi', true)) return 'alibi';
  if (!boolean(at, 'no_bias', true)) return 'no_bias';
  const expansion = at.config.expansion_ratio;
  if (expansion !== undefined && expansion !== 4) return 'expansion_ratio';
  return ['qk_ln', 'prefix_lm'].find((key) => boolean(attention, key, false));
}
