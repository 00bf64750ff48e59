/** Reads sliding windows from configurations. */

import { brief } from '../checkpoint/json-file.ts';
import { InputError } from '../errors.ts';
import { boolean, type ConfigFile, integer, limits, optionalInteger } from './config.ts';
import type { ModelSpec } from './spec.ts';

type Windows = ModelSpec['attention']['windows'];

/**
 * The same window, `sliding_window`, in every layer; none if it is null.
 * @throws InputError when `layer_types` says otherwise
 */
export function windowEverywhere(at: ConfigFile): Windows {
  const windows = windowIn(at, () => true);
  const types = at.config.layer_types ?? null;
  const slide = windows.length > 0;
  if (types === null || slidingLayers(at, types).every((slides) => slides === slide))
    return windows;
  throw new InputError(
    `'layer_types' contradicts 'sliding_window', by which ${slide ? 'every' : 'no'} layer of this family has sliding attention`,
    { file: at.file },
  );
}

/**
 * `sliding_window` in the layers that `layer_types` names, or, if that is missing, in those from
 * `max_window_layers` on; none unless `use_sliding_window` is true.
 * @throws InputError when these contradict each other
 */
export function windowByLayer(at: ConfigFile, defaultFirst: number): Windows {
  const used = boolean(at, 'use_sliding_window', false);
  const types = at.config.layer_types ?? null;
  if (types !== null) {
    const slides = slidingLayers(at, types);
    const windows = used ? windowIn(at, (layer) => slides[layer] ?? false) : [];
    if (windows.length > 0 || !slides.includes(true)) return windows;
    throw new InputError(
      "'layer_types' has sliding_attention, but 'use_sliding_window' or 'sliding_window' turns it off",
      { file: at.file },
    );
  }
  if (!used) return [];
  const first = optionalInteger(at, 'max_window_layers', defaultFirst) ?? defaultFirst;
  return windowIn(at, (layer) => layer >= first);
}

/**
 * `sliding_window` in the layers that `layer_types` names, or, if that is missing, in all except every
 * `every`th; `sliding_window_pattern` may replace `every`.
 * @param every 0: in all layers
 */
export function windowByType(
  at: ConfigFile,
  every: number,
): { readonly windows: Windows; readonly slides: readonly boolean[] } {
  const layers = integer(at, 'num_hidden_layers', limits.layers);
  const types = at.config.layer_types ?? null;
  const given = at.config.sliding_window_pattern;
  const step =
    typeof given === 'string'
      ? every
      : (optionalInteger(at, 'sliding_window_pattern', every) ?? every);
  const slides =
    types === null
      ? Array.from({ length: layers }, (_, layer) => step === 0 || (layer + 1) % step !== 0)
      : slidingLayers(at, types);
  return {
    windows: slides.includes(true) ? windowIn(at, (layer) => slides[layer] ?? false) : [],
    slides,
  };
}

/** For each layer, whether `layer_types` gives it sliding attention. */
function slidingLayers(at: ConfigFile, types: unknown): readonly boolean[] {
  const layers = integer(at, 'num_hidden_layers', limits.layers);
  if (!Array.isArray(types) || types.length !== layers) {
    const count = Array.isArray(types) ? `${types.length} entries` : brief(types);
    throw new InputError(`'layer_types' has ${count}, but 'num_hidden_layers' is ${layers}`, {
      file: at.file,
    });
  }
  return types.map((type: unknown) => {
    if (type === 'sliding_attention' || type === 'full_attention') return type !== 'full_attention';
    throw new InputError(
      `'layer_types' has ${brief(type)}, which is not supported`,
      { file: at.file },
      'Supported: full_attention, sliding_attention',
    );
  });
}

/** The default of `sliding_window` in transformers. */
const defaultWindow = 4096;

function windowIn(at: ConfigFile, has: (layer: number) => boolean): Windows {
  const window = optionalInteger(at, 'sliding_window', defaultWindow);
  if (window === null || window === 0) return [];
  const layers = integer(at, 'num_hidden_layers', limits.layers);
  return Array.from({ length: layers }, (_, layer) => (has(layer) ? window : null));
}
