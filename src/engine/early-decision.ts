/**
 * Decides which token is sampled while most logits are known only within bounds: few tokens can be drawn, and
 * only the sum of the others matters. Where the bounds do not decide, more exact logits are needed; the token
 * is always the one that all exact logits would give.
 */

import type { SamplingOptions } from './sampling-options.ts';

/**
 * Logits of the tokens that may be among the `topK` largest; where both bounds are equal, the logit is exact.
 */
export interface BoundedLogits {
  readonly ids: readonly number[];
  /** (ids) each */
  readonly lower: Float32Array;
  readonly upper: Float32Array;
}

/** Relative difference that sums in another order stay below. */
const rounding = 1e-9;

/**
 * @param point the random number in [0, 1)
 * @returns the token that is sampled, or null where that is not certain yet
 */
export function decideEarly(
  { ids, lower, upper }: BoundedLogits,
  { temperature, topK, topP, minP }: SamplingOptions,
  point: number,
): number | null {
  const known: number[] = [];
  let unknown = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < ids.length; i++) {
    if (lower[i] === upper[i]) known.push(i);
    else unknown = Math.max(unknown, upper[i] as number);
  }
  // Tokens above every uncertain one come first in the order of all tokens.
  const first = known
    .filter((i) => (lower[i] as number) > unknown)
    .sort((a, b) => (lower[b] as number) - (lower[a] as number) || (ids[a] ?? 0) - (ids[b] ?? 0))
    .slice(0, topK);
  const largest = lower[first[0] ?? -1];
  if (largest === undefined) return null;
  const weightOf = (logit: number) => Math.exp((logit - largest) / temperature);
  const weights = first.map((i) => weightOf(lower[i] as number));
  const inFirst = new Set(first);
  const rest = ids.flatMap((_, i) => (inFirst.has(i) ? [] : [i]));
  const restOf = (bounds: Float32Array) =>
    rest
      .map((i) => bounds[i] as number)
      .sort((a, b) => b - a)
      .slice(0, topK - first.length)
      .reduce((sum, logit) => sum + weightOf(logit), 0);
  const certain = weights.reduce((sum, weight) => sum + weight, 0);
  const least = (certain + restOf(lower)) * (1 - rounding);
  const most = (certain + restOf(upper)) * (1 + rounding);

  let kept = 0;
  let keptTotal: number | null = null;
  if (topP < 1) {
    // The first tokens whose sum reaches topP of the total, for every total within the bounds.
    let sum = 0;
    for (let n = 1; n <= weights.length; n++) {
      sum += weights[n - 1] ?? 0;
      if (sum < topP * most) {
        if (sum >= topP * least) return null;
        continue;
      }
      kept = n;
      break;
    }
    if (kept === 0) return null;
    if (minP > 0) while (kept > 1 && (weights[kept - 1] ?? 0) < minP) kept--;
    keptTotal = weights.slice(0, kept).reduce((total, weight) => total + weight, 0);
  } else if (minP > 0) {
    kept = weights.findIndex((weight) => weight < minP);
    // Any token that follows is smaller still.
    if (kept < 0) {
      if (first.length < Math.min(topK, ids.length)) return null;
      kept = weights.length;
    }
    keptTotal = weights.slice(0, kept).reduce((total, weight) => total + weight, 0);
  }
  if (keptTotal !== null) {
    let left = point * keptTotal;
    for (let i = 0; i < kept; i++) {
      left -= weights[i] ?? 0;
      if (left < 0) return ids[first[i] ?? 0] ?? null;
    }
    return ids[first[kept - 1] ?? 0] ?? null;
  }
  let sum = 0;
  for (const [n, weight] of weights.entries()) {
    if (point * most < sum) return null;
    sum += weight;
    if (point * most < sum * (1 - rounding)) return ids[first[n] ?? 0] ?? null;
    if (point * least < sum * (1 + rounding)) return null;
  }
  return null;
}
