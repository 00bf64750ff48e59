/**
 * EXAONE 4: the form of Llama with norms on the outputs of sublayers and on each query and key head; in
 * models with windows, layers without a window use no positions.
 */

import { decoderFamily } from './decoder-family.ts';
import { windowByType } from './windows.ts';

export const exaone4 = decoderFamily(['exaone4'], (at) => {
  const hasWindows = at.config.sliding_window !== null;
  const { windows, slides } = windowByType(at, 4);
  return {
    norm: { kind: 'rms', eps: ['rms_norm_eps', 1e-5], placement: 'output' },
    activation: 'silu',
    gate: 'linear',
    defaults: { kvHeads: 32 },
    qkNorm: 'rms',
    windows: hasWindows ? windows : [],
    ...(hasWindows && { told: slides }),
    bosId: 0,
    eosIds: [2],
  };
});
