/** Code shared by the two endpoints that generate. */

import { seedAt } from '../openai/generation-fields.ts';
import { badRequest } from '../openai/refusal.ts';
import { usageObject } from '../openai/usage.ts';
import { errorObject } from './errors.ts';
import type { EventStream } from './event-stream.ts';
import type { AnswerCall, ServedAnswer } from './service.ts';

/** The seed for a request that sets none. */
export function randomSeed(): number {
  return Math.floor(Math.random() * 2 ** 32);
}

/**
 * The most probabilities in one message: each takes some 300 bytes until the client has received it.
 * Streams send them token by token, except for tokens of a tool call.
 */
const mostTold = 2 ** 15;

/**
 * @param logprobs alternatives for each token, besides the token itself; null: no probabilities
 * @throws Refusal when the answers could have more probabilities than the limit
 */
export function checkTold(n: number, maxTokens: number, logprobs: number | null): void {
  const each = logprobs === null ? 0 : n * (logprobs + 1);
  if (each * maxTokens <= mostTold) return;
  const message =
    `${n} answers of ${maxTokens} tokens with ${(logprobs ?? 0) + 1} probabilities each exceed the limit of ` +
    `${mostTold} probabilities: ask for a stream, or lower 'max_tokens' to ${Math.floor(mostTold / each)}`;
  throw badRequest('invalid_value', message, 'logprobs');
}

/** A call without its text callback. */
export type SilentCall = Omit<AnswerCall, 'onText'>;

/** The call of one of several answers to a request. */
export function callAt(call: SilentCall, index: number): SilentCall {
  const { sampling } = call;
  return { ...call, sampling: { ...sampling, seed: seedAt(sampling.seed, index) } };
}

/** The `usage` object for several answers to one prompt. */
export function usageOf(answers: readonly ServedAnswer[]): object {
  const promptTokens = answers[0]?.promptTokens ?? 0;
  const tokens = answers.reduce((sum, answer) => sum + answer.tokens, 0);
  const cached = Math.min(...answers.map(({ reusedTokens }) => reusedTokens));
  return {
    ...usageObject({ promptTokens, tokens }),
    prompt_tokens_details: { cached_tokens: cached },
  };
}

/** Parts of the log line about several answers. */
export function notesOf(answers: readonly ServedAnswer[]): string[] {
  const reused = answers.map(({ reusedTokens }) => reusedTokens);
  const tokens = answers.map((answer) => answer.tokens);
  return [
    `prompt ${answers[0]?.promptTokens ?? 0} tokens (${reused.join('+')} reused)`,
    `answer ${tokens.join('+')} tokens`,
    answers.map(({ finishReason }) => finishReason).join('+'),
  ];
}

/** Does `work`; if it fails, sends the error to the stream. @throws the same error */
export async function telling<T>(stream: EventStream, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    stream.fail(errorObject(error));
    throw error;
  }
}
