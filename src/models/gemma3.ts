/**
 * The text part of Gemma 3: Gemma 2 without caps, with a norm on each query and key head; five of six
 * layers have a window and their own rotary embedding.
 */

import { optionalPositive } from './config.ts';
import { decoderFamily } from './decoder-family.ts';
import { laterGemmaTraits, scoreScale } from './gemma2.ts';
import { rotaryByWindow } from './rotary-layers.ts';
import { windowByType } from './windows.ts';

export const gemma3 = decoderFamily(
  ['gemma3_text'],
  (at) => {
    const traits = laterGemmaTraits(at);
    const { windows, slides } = windowByType(at, 6);
    const logitSoftCap = optionalPositive(at, 'final_logit_softcapping', null);
    return {
      ...traits,
      defaults: { ...traits.defaults, positions: 131_072, kvHeads: 4 },
      qkNorm: 'rms',
      windows,
      attention: { scale: scoreScale(at) },
      scales: { ...traits.scales, ...(logitSoftCap !== null && { logitSoftCap }) },
      positions: (config, headDim, trained) =>
        rotaryByWindow(config, headDim, trained, slides, {
          full: 1_000_000,
          sliding: 10_000,
          slidingKey: 'rope_local_base_freq',
        }),
    };
  },
  { activationKeys: ['hidden_activation'] },
);
