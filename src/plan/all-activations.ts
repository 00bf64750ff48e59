/**
 * Buffers for FFNs in which no down column can be used before the activations of all neurons are known: one
 * for these activations, and one for the down columns whose memory would be reused by then.
 */

import { formats } from '../dtype.ts';
import { partOf } from '../flash/ffn-units.ts';
import type { Manifest } from '../flash/manifest.ts';
import { needsAllActivations } from '../models/spec.ts';

/** Sizes of one layer's buffers. */
export interface AllActivationsSizes {
  readonly neurons: number;
  /** Bytes of the down columns of all neurons. */
  readonly downBytes: number;
}

/** Addresses of the buffers. */
export interface AllActivationsPlace {
  /** (chunk, neurons) f32 */
  readonly values: number;
  /** (neurons, bytes of a column) */
  readonly downs: number;
}

/** Null where each neuron's down column can be used together with its activation. */
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
