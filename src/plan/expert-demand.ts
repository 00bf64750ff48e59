/** What a token is expected to want of experts, and to miss of them, before anything has run. */

import type { Manifest } from '../flash/manifest.ts';
import { type ExpertPlan, expertUnits } from './expert-slots.ts';

/**
 * How steeply hits grow with the share of the experts that slots hold. Text repeats its choices: of
 * Qwen3-30B-A3B on a phone 53% were hit with slots for 12% of the experts and 76% with 24%; with 40%,
 * others saw 90% and more.
 */
const locality = 5;

/** The share of wanted experts that are expected in `slots` slots of `count` experts. */
export function expectedHits(slots: number, count: number): number {
  return 1 - (1 - Math.min(1, slots / count)) ** locality;
}

/** Of one token. */
export interface ExpertDemand {
  /** Bytes of the experts that it takes, and of those that have to be read. */
  readonly bytes: number;
  readonly missingBytes: number;
}

export function expertDemand(
  manifest: Pick<Manifest, 'ffns' | 'spec'>,
  { stores }: ExpertPlan,
): ExpertDemand {
  const topK = manifest.spec.ffn.experts?.topK ?? 0;
  let [bytes, missingBytes] = [0, 0];
  for (const [layer, units] of expertUnits(manifest).entries()) {
    if (units === null) continue;
    const wanted = topK * units.unitBytes;
    bytes += wanted;
    missingBytes += wanted * (1 - expectedHits(stores[layer]?.slots ?? 0, units.count));
  }
  return { bytes, missingBytes: Math.round(missingBytes) };
}
