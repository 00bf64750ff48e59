/** Negative log-likelihood and perplexity of a text. */

import { InputError } from '../errors.ts';
import { encodePieces, windowsOf } from './documents.ts';
import { argmax } from './sampler.ts';
import type { Session } from './session.ts';
import type { RunStats } from './stats.ts';

export interface EvaluateOptions {
  /** See {@link splitDocuments} and {@link documentsOf}. */
  readonly documents: Iterable<string> | AsyncIterable<string>;
  /** Positions of a window, its BOS included. */
  readonly context: number;
  readonly signal?: AbortSignal;
  /** Called after each document with the length of all so far, in UTF-16 units. */
  readonly onProgress?: (doneLength: number) => void;
}

export interface EvaluateResult {
  /** Scored tokens. */
  readonly tokens: number;
  /** Mean over them, in nats. */
  readonly nll: number;
  readonly perplexity: number;
  /** Share of positions where the most likely token is that of the exact model. */
  readonly top1Agreement: number;
  /** Null without predictors: all neurons take part. */
  readonly predictor: { readonly recall: number; readonly precision: number } | null;
  readonly stats: RunStats;
}

/**
 * Scores every token of every document: each is cut into consecutive windows of at most
 * `context - 1` tokens, and each window is scored after a BOS.
 * @throws InputError when there is nothing to score
 */
export async function evaluate(
  session: Session,
  options: EvaluateOptions,
): Promise<EvaluateResult> {
  const { tokenizer, manifest } = session.model;
  const { vocabSize, maxPositions } = manifest.spec;
  const { context, signal } = options;
  if (!Number.isInteger(context) || context < 2 || context > maxPositions) {
    throw new InputError(`the context must be 2 to ${maxPositions} positions, not ${context}`);
  }
  const { bosId } = tokenizer;
  if (bosId === undefined) throw new InputError('the model has no BOS token to score after');
  session.stats.restart();
  let total = 0;
  let sum = 0;
  let doneLength = 0;
  for await (const document of options.documents) {
    for (const window of windowsOf(encodePieces(tokenizer, document), context - 1)) {
      session.rewind();
      // The last token is predicted, not fed.
      const ids = [bosId, ...window.slice(0, -1)];
      await session.stats.prefill(() =>
        session.forward(ids, 'all', {
          ...(signal === undefined ? {} : { signal }),
          onLogits: (logits, first) => {
            for (let row = 0; row * vocabSize < logits.length; row++) {
              const target = window[first + row] ?? 0;
              sum += nllOf(logits.subarray(row * vocabSize, (row + 1) * vocabSize), target);
            }
          },
        }),
      );
      total += window.length;
    }
    doneLength += document.length;
    options.onProgress?.(doneLength);
  }
  if (total === 0) throw new InputError('the text holds no tokens to score');

  const nll = sum / total;
  return {
    tokens: total,
    nll,
    perplexity: Math.exp(nll),
    top1Agreement: 1,
    predictor: null,
    stats: session.stats.snapshot(total, 0),
  };
}

/** -log softmax(logits)[target], summed in double precision. */
function nllOf(logits: Float32Array, target: number): number {
  const largest = logits[argmax(logits)] ?? 0;
  let sum = 0;
  for (const logit of logits) sum += Math.exp(logit - largest);
  return Math.log(sum) + largest - (logits[target] ?? 0);
}
