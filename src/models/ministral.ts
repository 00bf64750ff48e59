/** Ministral: the form of Mistral, with windows in the layers that say so. */

import { decoderFamily } from './decoder-family.ts';
import { windowByType } from './windows.ts';

export const ministral = decoderFamily(['ministral'], (at) => ({
  norm: { kind: 'rms', eps: ['rms_norm_eps', 1e-6] },
  activation: 'silu',
  gate: 'linear',
  defaults: { positions: 131_072, kvHeads: 8 },
  windows: at.config.sliding_window === null ? [] : windowByType(at, 0).windows,
  bosId: 1,
  eosIds: [2],
}));
