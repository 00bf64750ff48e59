/** OLMo 3: OLMo 2, with windows in three of four layers, whose rotary embedding is not scaled. */

import { decoderFamily } from './decoder-family.ts';
import { olmo2Traits } from './olmo2.ts';
import { rotaryByWindow } from './rotary-layers.ts';
import { windowByType } from './windows.ts';

export const olmo3 = decoderFamily(['olmo3'], (at) => {
  const { windows, slides } = windowByType(at, 4);
  return {
    ...olmo2Traits(at),
    windows,
    positions: (config, headDim, trained) =>
      rotaryByWindow(config, headDim, trained, slides, {
        full: 500_000,
        sliding: 500_000,
        slidingKey: 'rope_theta',
      }),
  };
});
