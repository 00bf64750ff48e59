/**
 * Decides how many neurons of each layer get a slot: the neurons wanted most, in whichever layer they are.
 */

import { smallestRead } from '../flash/read-plan.ts';
import type { ReadCosts } from './miss-cost.ts';

export interface LayerDemand {
  readonly neurons: number;
  /** (neurons): share of tokens that want each. */
  readonly frequency: Float32Array;
}

/**
 * Distributes `slots` of one size among layers, so that the neurons wanted most fit.
 * @returns slots per layer, at most its neurons each, in all at most `slots`
 */
export function shareSlots(layers: readonly LayerDemand[], slots: number): number[] {
  const all = layers.reduce((sum, { neurons }) => sum + neurons, 0);
  if (slots >= all) return layers.map(({ neurons }) => neurons);
  if (slots <= 0) return layers.map(() => 0);
  const frequencies = new Float32Array(all);
  let end = 0;
  for (const { frequency } of layers) {
    frequencies.set(frequency, end);
    end += frequency.length;
  }
  frequencies.sort();
  // In every layer all neurons above the limit, and the same share of each layer's neurons at the limit.
  const limit = frequencies[all - slots] ?? 0;
  const above = layers.map(({ frequency }) => count(frequency, (share) => share > limit));
  const equal = layers.map(({ frequency }) => count(frequency, (share) => share === limit));
  let left = slots - above.reduce((a, b) => a + b, 0);
  let rest = equal.reduce((a, b) => a + b, 0);
  return above.map((certain, layer) => {
    const here = equal[layer] ?? 0;
    const taken = rest === 0 ? 0 : Math.min(here, Math.floor((left * here) / rest));
    left -= taken;
    rest -= here;
    return certain + taken;
  });
}

/**
 * How many neurons are worth more in DRAM than the same number of bytes that every token streams: a miss
 * costs a separate read of at least 32 KiB, while a stream costs its bytes alone. With short bundles this is
 * a quarter of all neurons, with long ones only few.
 */
export function neuronsBeforeMatrices(
  layers: readonly LayerDemand[],
  bundleBytes: number,
  { bandwidth, processorMs }: Pick<ReadCosts, 'bandwidth' | 'processorMs'>,
): number {
  const missMs = processorMs + (1000 * Math.max(smallestRead, bundleBytes)) / bandwidth;
  const streamMs = (1000 * bundleBytes) / bandwidth;
  const least = streamMs / missMs;
  return layers.reduce((sum, { frequency }) => sum + count(frequency, (f) => f > least), 0);
}

/**
 * Mean number of neurons that a token wants, and how many of them miss `slots` slots that always hold the
 * neurons wanted most; a store does better, as consecutive tokens often want the same neurons.
 * @param frequency (neurons): share of tokens that want each; none without
 */
export function wantedOf(
  frequency: Float32Array | undefined,
  slots: number,
): { readonly named: number; readonly missed: number } {
  let [named, missed] = [0, 0];
  const sorted = frequency?.slice().sort().reverse() ?? [];
  for (const [place, share] of sorted.entries()) {
    named += share;
    if (place >= slots) missed += share;
  }
  return { named, missed };
}

/** The `n` neurons wanted most, in the order of their ids. */
export function hottest({ frequency }: LayerDemand, n: number): number[] {
  const ids = Array.from(frequency.keys());
  ids.sort((a, b) => (frequency[b] ?? 0) - (frequency[a] ?? 0) || a - b);
  return ids.slice(0, n).sort((a, b) => a - b);
}

function count(values: Float32Array, test: (value: number) => boolean): number {
  let found = 0;
  for (const value of values) if (test(value)) found++;
  return found;
}
