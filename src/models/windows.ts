/** Sliding windows as configurations give them. */

import { type ConfigFile, integer, optionalInteger } from './config.ts';
import type { ModelSpec } from './spec.ts';

type Windows = ModelSpec['attention']['windows'];

/** The same window, `sliding_window`, in every layer; none where it is null. */
export function windowEverywhere(at: ConfigFile): Windows {
  return windowIn(at, () => true);
}

/**
 * `sliding_window` in the layers that `layer_types` names, or, where that is missing, in those from
 * `max_window_layers` on; none unless `use_sliding_window` is true.
 */
export function windowByLayer(at: ConfigFile, defaultFirst: number): Windows {
  if (at.config.use_sliding_window !== true) return [];
  const types = at.config.layer_types;
  if (Array.isArray(types)) return windowIn(at, (layer) => types[layer] === 'sliding_attention');
  const first = optionalInteger(at, 'max_window_layers', defaultFirst) ?? defaultFirst;
  return windowIn(at, (layer) => layer >= first);
}

function windowIn(at: ConfigFile, has: (layer: number) => boolean): Windows {
  const window = optionalInteger(at, 'sliding_window', 0);
  if (window === null || window === 0) return [];
  const layers = integer(at, 'num_hidden_layers');
  return Array.from({ length: layers }, (_, layer) => (has(layer) ? window : null));
}
