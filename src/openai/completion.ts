/** `/v1/completions`: the result of a request, and its answer object. */

import type { FinishReason } from '../engine/generate.ts';
import type { Answerer } from './answerer.ts';
import { createdNow, usageObject } from './usage.ts';

/** The result of a request. */
export interface Completion {
  readonly text: string;
  readonly promptTokens: number;
  readonly tokens: number;
  /** `stop`: the model or a stop text ended it, `length`: the limit of tokens or the context was reached. */
  readonly finishReason: 'stop' | 'length';
}

/** Why an answer ended, in the API's words. */
export function finishOf(reason: FinishReason): Completion['finishReason'] {
  return reason === 'eos' || reason === 'stop' ? 'stop' : 'length';
}

/** One of the answers in an object. */
export interface CompletionChoice {
  readonly text: string;
  readonly index: number;
  readonly logprobs: object | null;
  /** In a stream, null except in the last part. */
  readonly finishReason: Completion['finishReason'] | null;
}

/**
 * The answer object of a request, or a part of a stream.
 * @param id of the object, without the API's prefix
 */
export function completionObject(
  id: string,
  choices: readonly CompletionChoice[],
  usage: object | null,
  { model, fingerprint }: Answerer,
): object {
  return {
    id: `cmpl-${id}`,
    object: 'text_completion',
    created: createdNow(),
    model,
    system_fingerprint: fingerprint,
    choices: choices.map(({ text, index, logprobs, finishReason }) => ({
      text,
      index,
      logprobs,
      finish_reason: finishReason,
    })),
    ...(usage === null ? {} : { usage }),
  };
}

/** The object for a request of one answer. */
export function completionBody(id: string, completion: Completion, by: Answerer): object {
  const { text, finishReason } = completion;
  const choice = { text, index: 0, logprobs: null, finishReason };
  return completionObject(id, [choice], usageObject(completion), by);
}
