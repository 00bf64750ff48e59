/**
 * Predictors without training: the rows that decide whether a neuron fires, in few bits, with one threshold
 * per layer. Real gates have full rank, so that factors predict several times as many neurons as fire; rows
 * predict hardly more than fire, and take about an eighth of an f16 model's bytes.
 */

import { yieldToEventLoop } from '../yield-to-event-loop.ts';
import { reportOf, ScoreHistogram } from './calibrate.ts';
import { CoarseRows, spread } from './coarse-rows.ts';
import type { LayerProblem, TrainedPredictor } from './layer.ts';

/** Tokens from which a threshold is computed; for a single number these are enough. */
const mostTokens = 2048;
/** The histogram reaches this many standard deviations of the scores. */
const deviations = 4;

/**
 * The rows of a layer in few bits, with the threshold that keeps the wanted share of the activations' weight
 * on the tokens for learning; the figures are measured on the held-out tokens.
 */
export async function rowPredictor(problem: LayerProblem): Promise<TrainedPredictor> {
  const { work, hidden, neurons, samples, upBias, importance, options, signal } = problem;
  const rows = new CoarseRows(problem);
  const scores = rows.takeScores();
  const learned = samples.tokens - samples.heldOut;
  const learn = spread(0, learned, mostTokens);
  const unit = scoreUnit(rows, learn.slice(0, 64), (count) => {
    rows.scores(scores, count);
    return work.floats(scores, count * neurons);
  });

  /** Histogram of the scores of some tokens, in units of the scores' deviation. */
  const histogramOf = async (tokens: readonly number[]) => {
    const histogram = new ScoreHistogram();
    rows.eachBatch(tokens, ({ count, activations }) => {
      rows.scores(scores, count);
      work.kernels.scale(scores, count * neurons, 1 / unit);
      for (let p = 0; p < count; p++) {
        const row = 4 * p * neurons;
        const values = work.floats(activations + row, neurons);
        histogram.add(work.floats(scores + row, neurons), values, importance);
      }
    });
    await yieldToEventLoop(signal);
    return histogram;
  };
  const threshold = (await histogramOf(learn)).threshold(options.recall);
  const heldOut = spread(learned, samples.heldOut, mostTokens);
  const report = reportOf((await histogramOf(heldOut)).counts(threshold));

  const frequency = new Float32Array(neurons);
  const counted = [...learn, ...heldOut];
  rows.eachBatch(counted, ({ count }) => {
    rows.scores(scores, count);
    const values = work.floats(scores, count * neurons);
    for (let p = 0; p < count; p++) {
      for (let i = 0; i < neurons; i++) {
        if ((values[p * neurons + i] ?? 0) > threshold * unit) frequency[i]!++;
      }
    }
  });
  for (let i = 0; i < neurons; i++) frequency[i]! /= counted.length;
  return {
    form: 'rows',
    rank: hidden,
    relu: false,
    a: new Uint8Array(),
    b: rows.copy(),
    bias: upBias.map((value) => value - threshold * unit),
    frequency: rows.halves(frequency),
    report,
    curve: [],
  };
}

/** Scores divided by this lie within the histogram's range, spread over most of it. */
function scoreUnit(
  rows: CoarseRows,
  tokens: readonly number[],
  scoresOf: (count: number) => Float32Array,
): number {
  let squares = 0;
  let n = 0;
  rows.eachBatch(tokens, ({ count }) => {
    for (const value of scoresOf(count)) squares += value * value;
    n += count;
  });
  const deviation = Math.sqrt(squares / Math.max(1, n * rows.neurons));
  return (Math.max(deviation, 1e-6) * deviations) / ScoreHistogram.halfRange;
}
