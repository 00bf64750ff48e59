/** Rotary embeddings that differ from layer to layer, as configurations give them. */

import { isJsonObject } from '../checkpoint/json-file.ts';
import { type ConfigFile, positiveNumber } from './config.ts';
import type { ToldPositions } from './decoder-traits.ts';
import { rotaryFrom } from './rotary-config.ts';

/** Bases where the file does not say, of layers that see everything and of those with a window. */
interface Bases {
  readonly full: number;
  readonly sliding: number;
  /** The older name of the latter. */
  readonly slidingKey: string;
}

/**
 * One rotary embedding for layers that see everything, another for those with a window: `rope_parameters`
 * with a part for each, or, in older files, `rope_theta` and `rope_scaling` for the former.
 * @param slides by layer, whether it has a window
 * @throws InputError for a scaling that is not known
 */
export function rotaryByWindow(
  at: ConfigFile,
  headDim: number,
  trained: number,
  slides: readonly boolean[],
  bases: Bases,
): ToldPositions {
  const part = (key: string) => {
    const found = isJsonObject(at.config.rope_parameters) ? at.config.rope_parameters[key] : null;
    return isJsonObject(found) ? found : {};
  };
  const older = at.config.rope_scaling;
  const full = { ...part('full_attention'), ...(isJsonObject(older) ? older : {}) };
  const { positions, maxPositions } = rotaryFrom(
    { config: full, file: at.file },
    at,
    headDim,
    trained,
    {
      partial: null,
      theta: bases.full,
    },
  );
  const theta = positiveNumber(at, bases.slidingKey, bases.sliding);
  const sliding = { rope_theta: theta, ...part('sliding_attention') };
  const local = rotaryFrom({ config: sliding, file: at.file }, at, headDim, trained, {
    partial: null,
  });
  return {
    positions,
    maxPositions,
    localPositions: local.positions,
    rotary: slides.map((slide) => (slide ? 'local' : 'global')),
  };
}
