/** Negative log-likelihood and perplexity of a text. */

import { InputError } from '../errors.ts';
import type { StoreSimulation } from '../residency/store-simulation.ts';
import { type Documents, windowsOf } from './documents.ts';
import type { FfnHook } from './ffn-hook.ts';
import type { LoadedModel } from './loaded-model.ts';
import { type PredictionQuality, QualityHook } from './prediction-quality.ts';
import { type ReadingFactors, ReadingRecorder } from './reading-factors.ts';
import { argmax } from './sampler.ts';
import type { Sequence } from './sequence.ts';
import type { RunStats } from './stats.ts';

export interface EvaluateOptions {
  /** See {@link splitDocuments} and `documentParts`. */
  readonly documents: Documents;
  /** Positions of a window, its BOS included. */
  readonly context: number;
  readonly signal?: AbortSignal;
  /** Called after each window with the number of tokens scored so far. */
  readonly onProgress?: (tokens: number) => void;
  /** Simulates the stores that generation would have, to count the bytes that it would read. */
  readonly stores?: StoreSimulation | null;
}

export interface EvaluateResult {
  /** Scored tokens. */
  readonly tokens: number;
  /** Mean over them, in nats. */
  readonly nll: number;
  readonly perplexity: number;
  /** Share of positions where the most likely token is that of the model with every neuron. */
  readonly top1Agreement: number;
  /** Null without predictors: all neurons take part. */
  readonly predictor: PredictorFigures | null;
  readonly stats: RunStats;
}

/** How much the predictors left out, and how many bytes generation with them would read. */
export interface PredictorFigures extends PredictionQuality {
  /** Mean over the scored tokens of the exact model, in nats. */
  readonly exactNll: number;
  readonly exactPerplexity: number;
  /**
   * Bytes of neurons that a generated token would read from flash at this budget, and the share found in
   * DRAM.
   */
  readonly flashBytesPerToken: number;
  readonly hitRate: number;
  /** The factors of these bytes; null without stores. */
  readonly reading: ReadingFactors | null;
}

/**
 * Scores every token of every document: each is cut into consecutive windows of at most
 * `context - 1` tokens, and each window is scored after a BOS.
 * @throws InputError when there is nothing to score
 */
export async function evaluate(
  sequence: Sequence,
  options: EvaluateOptions,
): Promise<EvaluateResult> {
  const { runtime } = sequence;
  const { tokenizer, manifest } = runtime.model;
  const { vocabSize, maxPositions } = manifest.spec;
  const { context, signal } = options;
  if (!Number.isInteger(context) || context < 2 || context > maxPositions) {
    throw new InputError(`the context must be 2 to ${maxPositions} positions, not ${context}`);
  }
  const { bosId } = tokenizer;
  if (bosId === undefined) throw new InputError('the model has no BOS token to score after');
  tokenizer.checkIds([bosId]);
  const recorder = runtime.stats.begin();
  const measure = runtime.predictor && new Measurement(runtime, options.stores);
  const predicted = new Score();
  const exact = new Score();
  let agreed = 0;
  const cut = { ...(signal && { signal }) };
  for await (const window of windowsOf(options.documents, tokenizer, context - 1, cut)) {
    // The last token is predicted, not fed.
    const ids = [bosId, ...window.slice(0, -1)];
    const best = new Int32Array(window.length);
    const pass = async (hook: FfnHook | undefined, onRow: RowUser) => {
      sequence.rewind();
      const onLogits = (logits: Float32Array, first: number) => {
        for (let row = 0; row * vocabSize < logits.length; row++) {
          const values = logits.subarray(row * vocabSize, (row + 1) * vocabSize);
          onRow(values, first + row);
        }
      };
      const forward = { onLogits, ...cut, ...(hook && { hook }) };
      await recorder.prefill(() => sequence.forward(ids, 'all', forward));
    };
    await pass(undefined, (logits, place) => {
      exact.add(logits, window[place] ?? 0);
      best[place] = argmax(logits);
    });
    if (measure !== null) {
      measure.restart();
      await pass(measure.hook, (logits, place) => {
        predicted.add(logits, window[place] ?? 0);
        if (argmax(logits) === best[place]) agreed++;
      });
    }
    options.onProgress?.(exact.tokens);
  }
  if (exact.tokens === 0) throw new InputError('the text holds no tokens to score');

  const score = measure === null ? exact : predicted;
  return {
    tokens: score.tokens,
    nll: score.nll,
    perplexity: Math.exp(score.nll),
    top1Agreement: measure === null ? 1 : agreed / score.tokens,
    predictor: measure && {
      ...measure.hook.quality,
      exactNll: exact.nll,
      exactPerplexity: Math.exp(exact.nll),
      ...measure.reading,
    },
    stats: recorder.snapshot(score.tokens, 0),
  };
}

type RowUser = (logits: Float32Array, place: number) => void;

/** Mean negative log-likelihood so far. */
class Score {
  #sum = 0;
  tokens = 0;

  add(logits: Float32Array, target: number): void {
    this.#sum += nllOf(logits, target);
    this.tokens++;
  }

  get nll(): number {
    return this.#sum / this.tokens;
  }
}

/** Runs the predictors, and simulates the stores that generation would have. */
class Measurement {
  readonly hook: QualityHook;
  readonly #recorder: ReadingRecorder | null;

  constructor(runtime: LoadedModel, stores: StoreSimulation | null = null) {
    const { predictor, plan, model } = runtime;
    if (predictor === null) throw new Error('there is no predictor to measure');
    const { layers } = model.manifest;
    const recorder = stores && new ReadingRecorder(layers, stores);
    this.#recorder = recorder;
    this.hook = new QualityHook(
      predictor,
      { units: model.manifest.spec.ffn.neurons, rows: plan.chunk },
      (layer, wanted) => recorder?.wanted(layer, wanted),
      (layer, fired) => recorder?.fired(layer, fired),
    );
  }

  /** A new window begins. */
  restart(): void {
    this.#recorder?.restart();
  }

  get reading(): Pick<PredictorFigures, 'flashBytesPerToken' | 'hitRate' | 'reading'> {
    const reading = this.#recorder?.factors ?? null;
    const { predictedBytes = 0, missedBytes = 0, readBytes = 0 } = reading ?? {};
    return {
      flashBytesPerToken: readBytes,
      hitRate: predictedBytes === 0 ? 1 : 1 - missedBytes / predictedBytes,
      reading,
    };
  }
}

/** -log softmax(logits)[target], summed in double precision. */
export function nllOf(logits: Float32Array, target: number): number {
  const largest = logits[argmax(logits)] ?? 0;
  let sum = 0;
  for (const logit of logits) sum += Math.exp(logit - largest);
  return Math.log(sum) + largest - (logits[target] ?? 0);
}
