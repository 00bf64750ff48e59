/** The expected number of experts that a token wants and misses, before any token has run. */

import type { Manifest } from '../flash/manifest.ts';
import { type ExpertPlan, expertUnits } from './expert-slots.ts';
import type { MemoryPlan } from './memory-plan.ts';
import type { ReadCosts } from './miss-cost.ts';
import { kernelBytesPerMs } from './token-cost.ts';

/**
 * How steeply the hit rate grows with the share of the experts that slots hold. Consecutive tokens often
 * choose the same experts: for Qwen3-30B-A3B on a phone, the hit rate was 53% with slots for 12% of the
 * experts and 76% with 24%; with 40%, others saw 90% and more.
 */
const locality = 5;

/** The expected hit rate of `slots` slots for `count` experts. */
export function expectedHits(slots: number, count: number): number {
  return 1 - (1 - Math.min(1, slots / count)) ** locality;
}

/** Figures of one token. */
export interface ExpertDemand {
  /** Bytes of the experts that a token takes, and of those that have to be read. */
  readonly bytes: number;
  readonly missingBytes: number;
}

export function expertDemand(
  manifest: Pick<Manifest, 'ffns'>,
  { stores, topK }: ExpertPlan,
): ExpertDemand {
  let [bytes, missingBytes] = [0, 0];
  for (const [layer, units] of expertUnits(manifest).entries()) {
    if (units === null) continue;
    const wanted = topK * units.unitBytes;
    bytes += wanted;
    missingBytes += wanted * (1 - expectedHits(stores[layer]?.slots ?? 0, units.count));
  }
  return { bytes, missingBytes: Math.round(missingBytes) };
}

/** The expected figures of a mixture of experts under a plan. */
export interface ExpertOutlook {
  /** Experts in each layer that has some, and the number that a token takes. */
  readonly count: number;
  readonly perToken: number;
  /** Per layer, 0 where it has no experts. */
  readonly slots: readonly number[];
  /** The share of wanted experts that is expected to be in DRAM. */
  readonly hitRate: number;
  /** Bytes of experts that a token takes. */
  readonly bytesPerToken: number;
  /** Milliseconds of computing and reading one after the other; overlap makes it faster. */
  readonly tokensPerSecond: number;
}

/** Null for models without experts. */
export function expertOutlook(
  manifest: Pick<Manifest, 'ffns' | 'spec'>,
  { experts, usedBytes, streamedBytes, threads }: MemoryPlan,
  { bandwidth }: Pick<ReadCosts, 'bandwidth'>,
): ExpertOutlook | null {
  const { count } = manifest.spec.ffn.experts ?? {};
  if (experts === null || count === undefined) return null;
  const { bytes, missingBytes } = expertDemand(manifest, experts);
  const ms = usedBytes / (kernelBytesPerMs * threads) + (1000 * streamedBytes) / bandwidth;
  return {
    ...{ count, perToken: experts.topK },
    slots: experts.stores.map((place) => place?.slots ?? 0),
    hitRate: 1 - missingBytes / bytes,
    bytesPerToken: bytes,
    tokensPerSecond: 1000 / ms,
  };
}
