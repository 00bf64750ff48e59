/**
 * From logits to the next token. The steps and their order are those of Hugging Face's `generate`:
 * repetition penalty, temperature, top-k, top-p, min-p, then a draw from what is left.
 */

import { InputError } from '../errors.ts';
import { sortedIds, topIds } from '../top-ids.ts';
import { type BoundedLogits, decideEarly } from './early-decision.ts';
import { Random } from './random.ts';
import type { SamplingOptions } from './sampling-options.ts';

/** The number of largest logits of a position that are needed; the others may be -Infinity. */
export interface BestLogits {
  readonly best: number;
  /** Whether logits known within bounds suffice; absent: all of the largest are needed. */
  readonly suffice?: (bounded: BoundedLogits) => boolean;
}

export const greedy: SamplingOptions = {
  temperature: 0,
  topK: 0,
  topP: 1,
  minP: 0,
  repetitionPenalty: 1,
  seed: 0,
};

/** The command line's defaults. */
export const usualSampling: Omit<SamplingOptions, 'seed'> = {
  temperature: 0.8,
  topK: 40,
  topP: 0.95,
  minP: 0,
  repetitionPenalty: 1,
};

/**
 * How many of the largest logits decide which token is sampled; null: all do. The others may be -Infinity
 * without changing the sampled token.
 */
export function logitsThatDecide(options: Omit<SamplingOptions, 'seed'>): number | null {
  const { temperature, topK, repetitionPenalty } = options;
  // The penalty lowers tokens of the context, so that any other may come up.
  if (repetitionPenalty !== 1) return null;
  if (temperature === 0) return 1;
  return topK > 0 ? topK : null;
}

/** The same in the form that a plan takes. */
export function bestLogits(options: Omit<SamplingOptions, 'seed'>): {
  readonly bestLogits?: number;
} {
  const best = logitsThatDecide(options);
  return best === null ? {} : { bestLogits: best };
}

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
  readonly options: SamplingOptions;
  readonly #random: Random;
  /** Draws whose numbers are known already, the next one first. */
  readonly #ahead: Draw[] = [];

  constructor(options: SamplingOptions) {
    checkSampling(options);
    this.options = options;
    this.#random = new Random(options.seed);
  }

  /** Which logits the next {@link sample} needs, for a forward pass that computes no more of them. */
  get wanted(): 'last' | BestLogits {
    return this.wantedAfter(0);
  }

  /** The same for the sample that follows `ahead` others. */
  wantedAfter(ahead: number): 'last' | BestLogits {
    const best = logitsThatDecide(this.options);
    if (best === null) return 'last';
    if (best === 1) return { best };
    const draw = this.#draw(ahead);
    // Decisions from logits that were never sampled from are void.
    draw.decided = null;
    return {
      best,
      suffice: (bounded) => {
        draw.decided = decideEarly(bounded, this.options, draw.point);
        return draw.decided !== null;
      },
    };
  }

  /**
   * The token that a sample will probably be if its logits are close to these: the one that its random number
   * draws from them, or the most likely one up to halfway beyond its share, as the order of the others is
   * less certain. It consumes no draw.
   * @param logits (vocab), changed in place by the repetition penalty
   * @param ahead how many samples come before it
   */
  guess(logits: Float32Array, context: Iterable<number>, ahead: number): number {
    return choose(logits, context, this.options, (largest) => {
      const { point } = this.#draw(ahead);
      return point < (1 + largest) / 2 ? 0 : point;
    });
  }

  /**
   * Chooses a token.
   * @param logits (vocab), changed in place by the repetition penalty
   * @param context the tokens so far, prompt included
   */
  sample(logits: Float32Array, context: Iterable<number>): number {
    const decided = this.#ahead[0]?.decided ?? null;
    if (decided !== null) {
      this.#ahead.shift();
      return decided;
    }
    return choose(logits, context, this.options, () => {
      const { point } = this.#draw(0);
      this.#ahead.shift();
      return point;
    });
  }

  /** The draw that follows `ahead` others. */
  #draw(ahead: number): Draw {
    for (;;) {
      const draw = this.#ahead[ahead];
      if (draw !== undefined) return draw;
      this.#ahead.push({ point: this.#random.next(), decided: null });
    }
  }
}

/** A random number in [0, 1), and the token that it has decided. */
interface Draw {
  readonly point: number;
  decided: number | null;
}

/**
 * The token of these logits.
 * @param logits (vocab), changed in place by the repetition penalty
 * @param pointOf gives the random number in [0, 1), of which the most likely token's share is the first part;
 * not called where nothing is drawn
 */
function choose(
  logits: Float32Array,
  context: Iterable<number>,
  { temperature, topK, topP, minP, repetitionPenalty }: SamplingOptions,
  pointOf: (largestShare: number) => number,
): number {
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
  let point = pointOf((weights[0] ?? 0) / keptTotal) * keptTotal;
  for (let i = 0; i < kept; i++) {
    point -= weights[i] ?? 0;
    if (point < 0) return candidates[i] ?? 0;
  }
  return candidates[kept - 1] ?? 0;
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

/** How many leading weights are needed for their sum to reach `target`; at least one. */
function countReaching(weights: Float64Array, target: number): number {
  let sum = 0;
  for (let i = 0; i < weights.length; i++) {
    sum += weights[i] ?? 0;
    if (sum >= target) return i + 1;
  }
  return weights.length;
}
