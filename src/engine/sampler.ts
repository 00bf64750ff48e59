/**
 * From logits to the next token. The steps and their order are those of Hugging Face's `generate`:
 * repetition penalty, temperature, top-k, top-p, min-p, then a draw from what is left.
 */

import { InputError } from '../errors.ts';
import { Random } from './random.ts';

export interface SamplingOptions {
  /** 0 takes the most likely token. */
  readonly temperature: number;
  /** Keep this many of the most likely tokens; 0 keeps all. */
  readonly topK: number;
  /** Keep the most likely tokens that together reach this probability; 1 keeps all. */
  readonly topP: number;
  /** Drop tokens less likely than this times the most likely one; 0 keeps all. */
  readonly minP: number;
  /** Above 1: tokens of the context become less likely. 1 does nothing. */
  readonly repetitionPenalty: number;
  readonly seed: number;
}

export const greedy: SamplingOptions = {
  temperature: 0,
  topK: 0,
  topP: 1,
  minP: 0,
  repetitionPenalty: 1,
  seed: 0,
};

/** @throws InputError that names the option out of range */
export function checkSampling(options: SamplingOptions): void {
  const check = (name: string, value: number, ok: boolean, range: string) => {
    if (!ok || !Number.isFinite(value)) {
      throw new InputError(`${name} must be ${range}, not ${value}`);
    }
  };
  const { temperature, topK, topP, minP, repetitionPenalty, seed } = options;
  check('temperature', temperature, temperature >= 0, 'at least 0');
  check('top-k', topK, topK >= 0 && Number.isInteger(topK), 'a whole number, at least 0');
  check('top-p', topP, topP > 0 && topP <= 1, 'above 0 and at most 1');
  check('min-p', minP, minP >= 0 && minP <= 1, 'from 0 to 1');
  check('repetition penalty', repetitionPenalty, repetitionPenalty > 0, 'above 0');
  check('seed', seed, Number.isSafeInteger(seed) && seed >= 0, 'a whole number, at least 0');
}

export class Sampler {
  readonly #options: SamplingOptions;
  readonly #random: Random;

  constructor(options: SamplingOptions) {
    checkSampling(options);
    this.#options = options;
    this.#random = new Random(options.seed);
  }

  /**
   * Chooses a token.
   * @param logits (vocab), changed in place by the repetition penalty
   * @param context the tokens so far, prompt included
   */
  sample(logits: Float32Array, context: Iterable<number>): number {
    const { temperature, topK, topP, minP, repetitionPenalty } = this.#options;
    if (repetitionPenalty !== 1) penalise(logits, context, repetitionPenalty);
    if (temperature === 0) return argmax(logits);

    const candidates = topK > 0 && topK < logits.length ? topIds(logits, topK) : sortedIds(logits);
    const largest = logits[candidates[0] ?? 0] ?? 0;
    const weights = Float64Array.from(candidates, (id) =>
      Math.exp(((logits[id] ?? 0) - largest) / temperature),
    );
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    let kept = topP < 1 ? countReaching(weights, topP * total) : weights.length;
    // The most likely token has weight 1, so min-p is a bound on the weight itself.
    if (minP > 0) while (kept > 1 && (weights[kept - 1] ?? 0) < minP) kept--;

    const keptTotal = weights.subarray(0, kept).reduce((sum, weight) => sum + weight, 0);
    let point = this.#random.next() * keptTotal;
    for (let i = 0; i < kept; i++) {
      point -= weights[i] ?? 0;
      if (point < 0) return candidates[i] ?? 0;
    }
    return candidates[kept - 1] ?? 0;
  }
}

/** The index of the largest value, the first of equals. */
export function argmax(values: Float32Array): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) {
    if ((values[i] ?? 0) > (values[best] ?? 0)) best = i;
  }
  return best;
}

/** Divides positive and multiplies negative logits of the tokens seen, each once. */
function penalise(logits: Float32Array, context: Iterable<number>, penalty: number): void {
  for (const id of new Set(context)) {
    const logit = logits[id];
    if (logit !== undefined) logits[id] = logit > 0 ? logit / penalty : logit * penalty;
  }
}

/** Ids by falling logit; equal ones by id, so that the order is the same everywhere. */
function sortedIds(logits: Float32Array): Uint32Array {
  const ids = Uint32Array.from(logits, (_, id) => id);
  return ids.sort((a, b) => (logits[b] ?? 0) - (logits[a] ?? 0) || a - b);
}

/** The `k` ids of the largest logits, by falling logit: a heap whose top is the least of them. */
function topIds(logits: Float32Array, k: number): Uint32Array {
  const heap = new Uint32Array(k);
  /** Whether id a ranks below id b. */
  const below = (a: number, b: number) => {
    const difference = (logits[a] ?? 0) - (logits[b] ?? 0);
    return difference < 0 || (difference === 0 && a > b);
  };
  const sink = (size: number) => {
    let at = 0;
    for (;;) {
      let least = at;
      for (const child of [2 * at + 1, 2 * at + 2]) {
        if (child < size && below(heap[child] ?? 0, heap[least] ?? 0)) least = child;
      }
      if (least === at) return;
      [heap[at], heap[least]] = [heap[least] ?? 0, heap[at] ?? 0];
      at = least;
    }
  };
  // The first k in falling order are a heap backwards: rising order is one.
  const first = sortedIds(logits.subarray(0, k)).reverse();
  heap.set(first);
  // Nearly all of a vocabulary is below the least of the best: one comparison each.
  let least = logits[heap[0] ?? 0] as number;
  for (let id = k; id < logits.length; id++) {
    if (!((logits[id] as number) > least)) continue;
    heap[0] = id;
    sink(k);
    least = logits[heap[0] ?? 0] as number;
  }
  return heap.sort((a, b) => (below(a, b) ? 1 : -1));
}

/** How many leading weights are needed for their sum to reach `target`; at least one. */
function countReaching(weights: Float64Array, target: number): number {
  let sum = 0;
  for (let i = 0; i < weights.length; i++) {
    sum += weights[i] ?? 0;
    if (sum >= target) return i + 1;
  }
  return weights.length;
}
