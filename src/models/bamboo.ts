/**
 * Bamboo and TurboSparse-Mistral: the form of Mistral with dReLU: a ReLU on the gate and another on the
 * gated values. Their checkpoints include predictors, which are skipped.
 */

import { decoderFamily } from './decoder-family.ts';
import { windowEverywhere } from './windows.ts';

export const bamboo = decoderFamily(['bamboo'], (at) => ({
  norm: { kind: 'rms', eps: ['rms_norm_eps', 1e-6] },
  activation: 'relu',
  gate: 'both',
  defaults: { positions: 131_072, kvHeads: 8 },
  windows: windowEverywhere(at),
  bosId: 1,
  eosIds: [2],
  ignored: ['mlp.predictor.fc1.weight', 'mlp.predictor.fc2.weight'],
}));
