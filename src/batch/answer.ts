/** One line's way: request, tokens, completion, result. */

import type { Completion } from '../openai/completion.ts';
import { samplerSeed } from '../openai/generation-fields.ts';
import { promptIdsFor, tokensWithin } from '../openai/prompt-room.ts';
import type { Engine } from './engine.ts';
import { seedOf } from './line-ids.ts';
import type { LineKey } from './line-table.ts';
import type { Call } from './read-line.ts';

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
  const encode = () => engine.encode(request.prompt, signal);
  const promptIds = await promptIdsFor(engine, 'prompt', encode);
  const maxTokens = tokensWithin(engine, promptIds.length, request.maxTokens, usual);
  const { sampling, stop } = request;
  return engine.complete({
    promptIds,
    maxTokens,
    sampling: { ...sampling, seed: samplerSeed(sampling.seed ?? seedOf(key, seed)) },
    stop,
    signal,
    onTokens: (tokens) => onTokens(tokens, maxTokens),
  });
}
