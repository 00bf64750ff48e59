/**
 * Trains one layer's predictor: starting from the best linear approximation of its rank, AdamW minimises the
 * logistic loss of "this neuron fires", weighted by the cost of a miss. The final measure is the number of
 * neurons that must be predicted to keep the wanted share of the activations' weight; it decides when
 * training stops and which weights are the best.
 */

import { byteLength } from '../dtype.ts';
import type { Address } from '../kernels/signature.ts';
import { yieldToEventLoop } from '../yield-to-event-loop.ts';
import { type Factorisation, factorise, truncate } from './factorise.ts';
import type { ImportedMatrix, ImportedPredictor } from './import.ts';
import type { LayerProblem, TrainedPredictor } from './layer.ts';
import { LayerTraining, takeFactors } from './layer-training.ts';
import type { RankCandidate } from './rank.ts';

/**
 * Trains a predictor.
 * @param candidates ranks to choose from, ascending; the region is for the last
 * @param choose picks one by the number of neurons that the initial approximations would have to predict
 */
export async function trainLayer(
  problem: LayerProblem,
  candidates: readonly number[],
  choose: (curve: readonly RankCandidate[]) => number,
): Promise<TrainedPredictor> {
  const { method } = problem.options;
  const whole = await factorise(problem, candidates.at(-1) ?? 1, method !== 'svd');
  const curve = await approximations(problem, whole, candidates);
  const layer = startFrom(problem, whole, choose(curve));
  if (method !== 'svd') await layer.run();
  return { ...layer.finish(), curve };
}

/** The number of neurons that the best untrained approximations of these ranks would have to predict. */
export async function approximationCurve(
  problem: LayerProblem,
  candidates: readonly number[],
): Promise<RankCandidate[]> {
  const whole = await factorise(problem, candidates.at(-1) ?? 1, true);
  return approximations(problem, whole, candidates);
}

async function approximations(
  problem: LayerProblem,
  whole: Factorisation,
  candidates: readonly number[],
): Promise<RankCandidate[]> {
  const curve: RankCandidate[] = [];
  for (const rank of candidates) {
    const judge = () => startFrom(problem, whole, rank).judge();
    curve.push({ rank, predicted: problem.work.within(judge).predicted });
    await yieldToEventLoop(problem.signal);
  }
  return curve;
}

function startFrom(problem: LayerProblem, whole: Factorisation, rank: number): LayerTraining {
  const weights = takeFactors(problem, rank);
  truncate(problem, whole, weights);
  return new LayerTraining(problem, weights);
}

/** Finds the threshold of a published predictor. */
export function calibrateLayer(
  problem: LayerProblem,
  { rank, a, b }: ImportedPredictor,
): TrainedPredictor {
  const { work, neurons } = problem;
  const weights = takeFactors(problem, rank);
  const convert = ({ dtype, bytes }: ImportedMatrix, target: Address) =>
    work.within(() => {
      const source = work.take(Math.ceil(bytes.length / 4));
      new Uint8Array(work.memory.buffer, source, bytes.length).set(bytes);
      const elements = bytes.length / byteLength(dtype, 1);
      work.kernels.byDType[dtype].toF32(target, source, elements);
    });
  convert(a, weights.a);
  convert(b, weights.b);
  work.floats(weights.bias, neurons).fill(0);
  return { ...new LayerTraining(problem, weights).finish(), curve: [] };
}
