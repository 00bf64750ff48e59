/**
 * Command R7B, Command A and Aya: Command R with windows in three of four layers; the fourth has no
 * positions.
 */

import { cohereTraits } from './cohere.ts';
import { decoderFamily } from './decoder-family.ts';
import { windowByType } from './windows.ts';

export const cohere2 = decoderFamily(['cohere2'], (at) => {
  const { windows, slides } = windowByType(at, 4);
  return {
    ...cohereTraits(at),
    windows,
    told: slides,
  };
});
