/**
 * Room for FFNs of which no down column can be used before the activations of all neurons are known: these,
 * and the down columns that came with them and would be gone by then.
 */

import { formats } from '../dtype.ts';
import { partOf } from '../flash/ffn-units.ts';
import type { Manifest } from '../flash/manifest.ts';
import { needsAllActivations } from '../models/spec.ts';

/** Sizes of one layer's. */
export interface AllActivationsSizes {
  readonly neurons: number;
  /** Of the down columns of all neurons. */
  readonly downBytes: number;
}

/** Where they lie. */
export interface AllActivationsPlace {
  /** (chunk, neurons) f32 */
  readonly values: number;
  /** (neurons, bytes of a column) */
  readonly downs: number;
}

/** Null where each neuron's column can be used with its activation. */
export function allActivationsSizes({
  spec,
  ffns,
}: Pick<Manifest, 'spec' | 'ffns'>): AllActivationsSizes | null {
  if (!needsAllActivations(spec)) return null;
  const columns = ffns.flat().map((units) => {
    const { dtype = 'f32' } = partOf(units, 'down') ?? {};
    return formats[dtype].rowBytes(spec.hiddenSize);
  });
  const { neurons } = spec.ffn;
  return { neurons, downBytes: neurons * Math.max(0, ...columns) };
}
