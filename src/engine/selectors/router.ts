/**
 * The router of a mixture of experts: each row takes the k experts with the largest scores, weighted by them.
 * The caller computes the gate's logits; this file has the steps after that.
 */

import type { ExpertsSpec } from '../../models/spec.ts';
import type { FfnInput, Selector, WeightSelection } from '../selection.ts';
import { sparsemixerWeights } from './sparsemixer.ts';
import { topK as largest } from './top-k.ts';

/** How scores become a choice, as model configurations define it. */
export interface Routing {
  readonly experts: number;
  /** Experts that each row takes. */
  readonly topK: number;
  /** As in the spec. */
  readonly score: ExpertsSpec['score'];
  /** Whether the weights of the chosen are divided by their sum. */
  readonly normalise: boolean;
  /** Factor on all weights. */
  readonly scale: number;
  /** (experts): added to the scores for the choice, not for the weights. */
  readonly correction?: Float32Array;
  readonly groups?: NonNullable<ExpertsSpec['groups']>;
  /** Of sparsemixer. */
  readonly jitter?: number;
}

/** Scores of one row's logits, in double precision. */
function scoresOf(logits: Float32Array, kind: 'softmax' | 'sigmoid'): Float64Array {
  // Plain loops: a prompt has a row for each of its positions in each layer, and iterators take 3 times as
  // long.
  const scores = new Float64Array(logits);
  const { length } = scores;
  if (kind === 'sigmoid') {
    for (let i = 0; i < length; i++) scores[i] = 1 / (1 + Math.exp(-(scores[i] ?? 0)));
    return scores;
  }
  let most = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < length; i++) most = Math.max(most, scores[i] ?? 0);
  let sum = 0;
  for (let i = 0; i < length; i++) {
    const score = Math.exp((scores[i] ?? 0) - most);
    scores[i] = score;
    sum += score;
  }
  for (let i = 0; i < length; i++) scores[i] = (scores[i] ?? 0) / sum;
  return scores;
}

function hasNaN(values: Float32Array): boolean {
  for (let i = 0; i < values.length; i++) if (Number.isNaN(values[i])) return true;
  return false;
}

/** The scores by which a row chooses: corrected, and -Infinity in groups that it leaves out. */
function choiceOf(scores: Float64Array, { correction, groups, experts }: Routing): Float64Array {
  if (correction === undefined && groups === undefined) return scores;
  const choice = scores.map((score, expert) => score + (correction?.[expert] ?? 0));
  if (groups === undefined) return choice;
  const size = experts / groups.count;
  const merits = Float64Array.from({ length: groups.count }, (_, group) => {
    const own = choice.subarray(group * size, (group + 1) * size);
    return largest(own, groups.best).reduce((sum, place) => sum + (own[place] ?? 0), 0);
  });
  const chosen = largest(merits, groups.topK);
  return choice.map((score, expert) =>
    chosen.includes(Math.floor(expert / size)) ? score : Number.NEGATIVE_INFINITY,
  );
}

/**
 * Routes rows of logits.
 * @param logits (rows, experts)
 * @param into room for the experts and rows
 * @throws RangeError where a routing takes more experts than are eligible, or a logit is NaN
 */
export function route(
  logits: Float32Array,
  rows: number,
  routing: Routing,
  into: WeightSelection,
): WeightSelection {
  const { experts, topK, score, normalise, scale, groups } = routing;
  const eligible = groups === undefined ? experts : (experts / groups.count) * groups.topK;
  if (topK > eligible || !Number.isInteger(eligible) || (groups && groups.topK > groups.count)) {
    throw new RangeError(`a row cannot take ${topK} of ${eligible} experts`);
  }
  into.clear(experts, rows);
  for (let row = 0; row < rows; row++) {
    const own = logits.subarray(row * experts, (row + 1) * experts);
    if (hasNaN(own)) throw new RangeError(`a router's logit of row ${row} is NaN`);
    if (score === 'sparsemixer') {
      const weights = sparsemixerWeights(own, topK, routing.jitter ?? 0);
      for (const [expert, weight] of weights) into.take(row, expert, weight * scale);
      continue;
    }
    const scores = scoresOf(own, score);
    const chosen = largest(choiceOf(scores, routing), topK);
    const sum = normalise ? chosen.reduce((total, expert) => total + (scores[expert] ?? 0), 0) : 1;
    for (const expert of chosen) into.take(row, expert, ((scores[expert] ?? 0) / sum) * scale);
  }
  return into.seal();
}

export class Router implements Selector<WeightSelection> {
  readonly #routing: Routing;
  readonly #logits: (input: FfnInput) => Float32Array;

  /** @param logits multiplies the gate's matrix with an input: (positions, experts) */
  constructor(routing: Routing, logits: (input: FfnInput) => Float32Array) {
    this.#routing = routing;
    this.#logits = logits;
  }

  select(input: FfnInput, into: WeightSelection): WeightSelection {
    return route(this.#logits(input), input.positions, this.#routing, into);
  }
}
