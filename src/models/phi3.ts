/**
 * Phi-3, 3.5 and 4: the form of Llama with fused projections, extended by a separate factor for each rotary
 * pair.
 */

import { decoderFamily } from './decoder-family.ts';
import { windowEverywhere } from './windows.ts';

export const phi3 = decoderFamily(['phi3'], (at) => ({
  norm: { kind: 'rms', eps: ['rms_norm_eps', 1e-5] },
  activation: 'silu',
  gate: 'linear',
  rotaryShare: 1,
  defaults: { positions: 4096 },
  windows: at.config.sliding_window === undefined ? [] : windowEverywhere(at),
  fused: 'stacked',
  fusedGate: true,
  names: { qkv: 'self_attn.qkv_proj' },
  bosId: 1,
  eosIds: [32_000],
}));
