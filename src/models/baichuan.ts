/**
 * Baichuan 1 and 2: Llama's form, with queries, keys and values stacked in one projection. The larger
 * models use ALiBi for positions, and so have no maximum length of position embeddings. In the second
 * generation, the rows of the head are divided by their lengths.
 */

import { type ConfigFile, limits, optionalInteger } from './config.ts';
import { decoderFamily } from './decoder-family.ts';

/** The vocabulary size of the second generation, in place of 64,000. */
const secondVocabulary = 125_696;

export const baichuan = decoderFamily(['baichuan'], (at) => ({
  norm: { kind: 'rms', eps: ['rms_norm_eps', 1e-6] },
  activation: 'silu',
  gate: 'linear',
  evenHeads: true,
  keys: { positions: ['max_position_embeddings', 'model_max_length'], kvHeads: [] },
  defaults: { positions: 4096 },
  ...(tellsByAlibi(at) && {
    positions: (_at: ConfigFile, _headDim: number, trained: number) => ({
      positions: { kind: 'alibi' as const, form: 'plain' as const },
      maxPositions: trained,
    }),
  }),
  fused: 'stacked',
  names: { qkv: 'self_attn.W_pack' },
  unitHead: isSecond(at),
  bosId: 1,
  eosIds: [2],
}));

/** Only the class of the smaller models has this field. */
function tellsByAlibi(at: ConfigFile): boolean {
  return optionalInteger(at, 'max_position_embeddings', null, limits.integer) === null;
}

/**
 * The second generation has an additional term in its training loss, which identifies its configurations.
 */
function isSecond({ config }: ConfigFile): boolean {
  return config.z_loss_weight !== undefined || config.vocab_size === secondVocabulary;
}
