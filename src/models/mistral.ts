/** Mistral: the form of Llama with sliding windows. */

import { decoderFamily } from './decoder-family.ts';
import { windowEverywhere } from './windows.ts';

export const mistral = decoderFamily(['mistral'], (at) => ({
  norm: { kind: 'rms', eps: ['rms_norm_eps', 1e-6] },
  activation: 'silu',
  gate: 'linear',
  defaults: { positions: 131_072, kvHeads: 8 },
  windows: windowEverywhere(at),
  bosId: 1,
  eosIds: [2],
}));
