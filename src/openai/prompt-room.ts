/** Checks whether a context has room for a prompt and its answer, with the messages for when it has not. */

import { encodePromptParts, PromptTooLongError } from '../engine/prompt.ts';
import { InputError } from '../errors.ts';
import { TimeLimitError } from '../tokenizer/time-limit.ts';
import type { Tokenizer } from '../tokenizer/tokenizer.ts';
import { badRequest } from './refusal.ts';

/** Positions. */
export interface Contexts {
  /** Positions of a sequence. */
  readonly context: number;
  /** The most positions that the model supports. */
  readonly maxContext: number;
}

/**
 * The token ids of a prompt, including those that the model expects around a text; given ids are checked.
 * @throws PromptTooLongError when there are more than `most`; InputError for an invalid prompt;
 * InterruptedError
 */
export async function encodePromptOrIds(
  tokenizer: Tokenizer,
  prompt: string | readonly number[],
  most: number,
  signal: AbortSignal,
): Promise<readonly number[]> {
  if (typeof prompt === 'string') {
    return encodePromptParts(tokenizer, [prompt], { most, file: 'the prompt', signal });
  }
  if (prompt.length > most) throw new PromptTooLongError(`${prompt.length}`, most, 'Shorten it');
  tokenizer.checkIds(prompt);
  return prompt;
}

/**
 * The ids that `encode` returns, of which there must be at least one.
 * @param param the field that the prompt comes from
 * @throws Refusal when the prompt is at fault
 */
export async function promptIdsFor(
  contexts: Contexts,
  param: string,
  encode: () => Promise<readonly number[]>,
): Promise<readonly number[]> {
  try {
    const ids = await encode();
    if (ids.length > contexts.context) throw tooLong(contexts, `${ids.length}`, param);
    if (ids.length > 0) return ids;
    const message = 'the prompt is empty, and the model has no BOS token to start from';
    throw badRequest('invalid_prompt', message, param);
  } catch (error) {
    if (error instanceof PromptTooLongError) throw tooLong(contexts, error.tokens, param);
    // An error because the machine is too busy is not the request's fault.
    const isFault =
      error instanceof InputError && !(error instanceof TimeLimitError && error.starved);
    throw isFault ? badRequest('invalid_prompt', error.line, param) : error;
  }
}

function tooLong(contexts: Contexts, tokens: string, param: string): Error {
  const message = `the prompt has ${tokens} tokens, ${hasRoom(contexts)}. Shorten it`;
  return badRequest('context_length_exceeded', message, param);
}

/**
 * How many tokens may be generated. The last one is not fed back, so it needs no position.
 * @param asked undefined if the request sets no limit; then it is `usual`, or less if there is less room
 * @throws Refusal when the context has no room for `asked` tokens
 */
export function tokensWithin(
  contexts: Contexts,
  promptTokens: number,
  asked: number | undefined,
  usual: number,
): number {
  const room = contexts.context - promptTokens + 1;
  if (asked === undefined) return Math.min(usual, room);
  if (asked <= room) return asked;
  const message =
    `the prompt has ${promptTokens} tokens and 'max_tokens' is ${asked}: they need ` +
    `${promptTokens + asked - 1} positions, ${hasRoom(contexts)}. Lower 'max_tokens' to ${room}`;
  throw badRequest('context_length_exceeded', message, 'max_tokens');
}

function hasRoom({ context, maxContext }: Contexts): string {
  const more = context < maxContext ? ` (--context may be up to ${maxContext})` : '';
  return `the context has ${context}${more}`;
}
