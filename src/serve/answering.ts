/** What both endpoints that generate have in common. */

import { seedAt } from '../openai/generation-fields.ts';
import { badRequest } from '../openai/refusal.ts';
import { usageObject } from '../openai/usage.ts';
import { errorObject } from './errors.ts';
import type { EventStream } from './event-stream.ts';
import type { AnswerCall, ServedAnswer } from './service.ts';

/** The seed of a request that has none. */
export function randomSeed(): number {
  return Math.floor(Math.random() * 2 ** 32);
}

/**
 * Probabilities that may be told at once: some 300 bytes each, until the client has them. Streams send
 * them token by token, unless these are parts of a call.
 */
const mostTold = 2 ** 15;

/**
 * @param logprobs how many are told besides that of each token; null: none at all
 * @throws Refusal when so many answers of so many tokens would have more than there is room for
 */
export function checkTold(n: number, maxTokens: number, logprobs: number | null): void {
  const each = logprobs === null ? 0 : n * (logprobs + 1);
  if (each * maxTokens <= mostTold) return;
  const message =
    `${n} answers of ${maxTokens} tokens with ${(logprobs ?? 0) + 1} probabilities each have more than ` +
    `${mostTold}: ask for a stream, or lower 'max_tokens' to ${Math.floor(mostTold / each)}`;
  throw badRequest('invalid_value', message, 'logprobs');
}

/** A call without what hears of its text. */
export type SilentCall = Omit<AnswerCall, 'onText'>;

/** The call of one of several answers to a request. */
export function callAt(call: SilentCall, index: number): SilentCall {
  const { sampling } = call;
  return { ...call, sampling: { ...sampling, seed: seedAt(sampling.seed, index) } };
}

/** What some answers to one prompt cost. */
export function usageOf(answers: readonly ServedAnswer[]): object {
  const promptTokens = answers[0]?.promptTokens ?? 0;
  const tokens = answers.reduce((sum, answer) => sum + answer.tokens, 0);
  const cached = Math.min(...answers.map(({ reusedTokens }) => reusedTokens));
  return {
    ...usageObject({ promptTokens, tokens }),
    prompt_tokens_details: { cached_tokens: cached },
  };
}

/** What the log says of some answers. */
export function notesOf(answers: readonly ServedAnswer[]): string[] {
  const reused = answers.map(({ reusedTokens }) => reusedTokens);
  const tokens = answers.map((answer) => answer.tokens);
  return [
    `prompt ${answers[0]?.promptTokens ?? 0} tokens (${reused.join('+')} kept)`,
    `answer ${tokens.join('+')} tokens`,
    answers.map(({ finishReason }) => finishReason).join('+'),
  ];
}

/** Does `work`; when it fails, the stream says so. @throws what it failed with */
export async function telling<T>(stream: EventStream, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    stream.fail(errorObject(error));
    throw error;
  }
}
