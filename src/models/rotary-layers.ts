/** Reads from configurations rotary embeddings that differ from layer to layer. */

import { isJsonObject } from '../checkpoint/json-file.ts';
import { type ConfigFile, positiveNumber } from './config.ts';
import type { ToldPositions } from './decoder-traits.ts';
import { rotaryFrom } from './rotary-config.ts';

/** Default bases for layers with full attention and for those with a window. */
interface Bases {
  readonly full: number;
  readonly sliding: number;
  /** The older key of the base for layers with a window. */
  readonly slidingKey: string;
}

/**
 * One rotary embedding for layers with full attention, another for those with a window: `rope_parameters`
 * with a part for each, or, in older files, `rope_theta` and `rope_scaling` for full attention.
 * @param slides for each layer, whether it has a window
 * @throws InputError for an unknown scaling
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
