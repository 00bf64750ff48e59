/**
 * How synthetic models get experts that repeat, as those of trained models do.
 *
 * Queries and keys are the same for all tokens, so that a position's rotary embedding alone decides what
 * attention looks at: the score of a key is the sum over all frequencies of the cosine of its distance, which
 * falls with the logarithm of the distance. Attention is then a mean over the past in which the weight of a
 * token is a power of its distance. A router sees that mean (slow), the token's own embedding (fast), and a
 * constant (some experts are popular), each in columns of its own, in a given ratio.
 */

import { frequenciesOf } from '../../src/engine/rotary.ts';
import type { RotaryPositions } from '../../src/models/positions.ts';
import { normals } from '../checkpoint/random-halfs.ts';

/** The parameters that determine locality. */
export interface RoutedGeometry {
  readonly rotary: RotaryPositions;
  readonly headDim: number;
  readonly experts: number;
  readonly topK: number;
}

/** Number of tokens that are drawn to find a mix, and to measure its locality. */
export const drawnTokens = 640;

/** Shares of the variance of a router's logits; their sum is 1. */
export interface LocalityMix {
  readonly slow: number;
  readonly fast: number;
  readonly popular: number;
  /** Score of a token's own key, in units of the root of a head's values: the steepness of the fall. */
  readonly steepness: number;
}

/** The popularity of experts, and how steeply the weight of the past falls: see {@link mixFor}. */
const [popular, steepness] = [0.16, 0.7];

/**
 * The mix for which a given share of choices repeats at the next token. With the 45% of Qwen3-30B-A3B,
 * popularity and steepness come close to other measurements of that model: a store with the policy "least
 * recently used" hits 53%, 76% and 90-95% with 12%, 25% and 40% of the experts.
 * @param repeated wanted share of repeated choices
 */
export function mixFor(geometry: RoutedGeometry, repeated: number): LocalityMix {
  const kernel = kernelOf(geometry, steepness, drawnTokens);
  let [low, high] = [0, 1 - popular];
  const mix = (slow: number) => ({ slow, fast: 1 - popular - slow, popular, steepness });
  for (let i = 0; i < 7; i++) {
    const middle = (low + high) / 2;
    const found = predictLocality(mix(middle), kernel, geometry).repeated;
    if (found < repeated) low = middle;
    else high = middle;
  }
  return mix((low + high) / 2);
}

/** The weight that attention gives to distances 0, 1, ..., not normalised. */
export function kernelOf(
  { rotary, headDim }: Pick<RoutedGeometry, 'rotary' | 'headDim'>,
  steepness: number,
  distances: number,
): Float64Array {
  const frequencies = frequenciesOf(rotary, distances);
  const score = (distance: number) => {
    let sum = headDim / 2 - frequencies.length;
    for (const frequency of frequencies) sum += Math.cos(distance * frequency);
    return (steepness * Math.sqrt(headDim) * sum) / (headDim / 2);
  };
  const own = score(0);
  return Float64Array.from({ length: distances }, (_, distance) => Math.exp(score(distance) - own));
}

/** The deviation of a mean of independent values, of deviation 1, over `distances` positions with such weights. */
export function meanDeviation(kernel: Float64Array): number {
  const sum = kernel.reduce((total, weight) => total + weight, 0);
  return Math.sqrt(kernel.reduce((total, weight) => total + weight * weight, 0)) / sum;
}

interface Prediction {
  /** Share of a token's experts that the previous token chose, too. */
  readonly repeated: number;
  /** Hit rates of a store with the policy "least recently used", by the share of experts it has room for. */
  readonly hits: ReadonlyMap<number, number>;
}

const residencies = [0.12, 0.25, 0.4];

/**
 * Locality of a router with these logits, found by drawing them for as many tokens as the kernel has distances; the
 * first quarter is not counted.
 */
export function predictLocality(
  { slow, fast, popular }: LocalityMix,
  kernel: Float64Array,
  { experts, topK }: Pick<RoutedGeometry, 'experts' | 'topK'>,
): Prediction {
  const tokens = kernel.length;
  const draw = (count: number, seed: number) => normals(count, seed);
  const [own, past] = [draw(tokens * experts, 11), draw(tokens * experts, 12)];
  const popularity = draw(experts, 13);
  const scale = meanDeviation(kernel.subarray(0, tokens / 2));
  const lists: number[][] = [];
  for (let token = 0; token < tokens; token++) {
    const mean = new Float64Array(experts);
    let sum = 0;
    for (let distance = 0; distance <= token; distance++) {
      const weight = kernel[distance] ?? 0;
      sum += weight;
      const at = (token - distance) * experts;
      for (let e = 0; e < experts; e++) mean[e] = (mean[e] ?? 0) + weight * (past[at + e] ?? 0);
    }
    const logits = mean.map(
      (value, e) =>
        (Math.sqrt(slow) * value) / (sum * scale) +
        Math.sqrt(fast) * (own[token * experts + e] ?? 0) +
        Math.sqrt(popular) * (popularity[e] ?? 0),
    );
    const order = Array.from(logits.keys()).sort((a, b) => (logits[b] ?? 0) - (logits[a] ?? 0));
    lists.push(order.slice(0, topK));
  }
  const counted = lists.slice(tokens / 4);
  let repeated = 0;
  counted.forEach((list, i) => {
    const before = lists[tokens / 4 + i - 1] ?? [];
    repeated += list.filter((id) => before.includes(id)).length;
  });
  return {
    repeated: repeated / (counted.length * topK),
    hits: new Map(
      residencies.map((share) => [
        share,
        leastRecentlyUsedHits(lists, Math.round(share * experts), tokens / 4),
      ]),
    ),
  };
}

function leastRecentlyUsedHits(lists: readonly number[][], slots: number, from: number): number {
  // In the order in which they were used last.
  const held: number[] = [];
  let [hits, wanted] = [0, 0];
  lists.forEach((list, token) => {
    if (token >= from) {
      hits += list.filter((id) => held.includes(id)).length;
      wanted += list.length;
    }
    for (const id of list) {
      const at = held.indexOf(id);
      if (at >= 0) held.splice(at, 1);
      held.push(id);
    }
    held.splice(0, Math.max(0, held.length - slots));
  });
  return hits / wanted;
}
