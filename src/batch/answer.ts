/** One line's way: request, tokens, completion, result. */

import { PromptTooLongError } from '../engine/prompt.ts';
import { InputError } from '../errors.ts';
import { TimeLimitError } from '../tokenizer/time-limit.ts';
import type { Completion } from './completions.ts';
import type { Engine } from './engine.ts';
import { seedOf } from './line-ids.ts';
import type { LineKey } from './line-table.ts';
import type { Call } from './read-line.ts';
import { badRequest } from './refusal.ts';

export interface AnswerOptions {
  /** Tokens of requests that do not say how many. */
  readonly maxTokens: number;
  /** From which seeds are derived for requests that have none. */
  readonly seed: number;
  readonly signal: AbortSignal;
  /** Called as tokens come, with how many there are, and how many there can be. */
  readonly onTokens: (tokens: number, most: number) => void;
}

/**
 * The completion of a line's request.
 * @throws Refusal when the request is at fault; what the engine throws else
 */
export async function complete(
  engine: Engine,
  { request }: Call,
  key: LineKey,
  { maxTokens: usual, seed, signal, onTokens }: AnswerOptions,
): Promise<Completion> {
  const promptIds = await encode(engine, request.prompt, signal);
  const maxTokens = tokensWithin(engine, promptIds.length, request.maxTokens, usual);
  const { sampling, stop } = request;
  return engine.complete({
    promptIds,
    maxTokens,
    sampling: { ...sampling, seed: sampling.seed ?? seedOf(key, seed) },
    stop,
    signal,
    onTokens: (tokens) => onTokens(tokens, maxTokens),
  });
}

async function encode(
  engine: Engine,
  prompt: string | readonly number[],
  signal: AbortSignal,
): Promise<readonly number[]> {
  try {
    const ids = await engine.encode(prompt, signal);
    if (ids.length > 0) return ids;
    const message = 'the prompt is empty and the model has no BOS token to start from';
    throw badRequest('invalid_prompt', message, 'prompt');
  } catch (error) {
    if (error instanceof PromptTooLongError) throw tooLong(engine, error.tokens);
    // A machine that is too busy is not the request's fault.
    const isFault =
      error instanceof InputError && !(error instanceof TimeLimitError && error.starved);
    throw isFault ? badRequest('invalid_prompt', error.line, 'prompt') : error;
  }
}

type Contexts = Pick<Engine, 'context' | 'maxContext'>;

function tooLong(contexts: Contexts, tokens: string): Error {
  const message = `the prompt has ${tokens} tokens, ${hasRoom(contexts)}. Shorten it`;
  return badRequest('context_length_exceeded', message, 'prompt');
}

/** How many tokens may be generated. The last one is not fed back, so it needs no position. */
function tokensWithin(
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
