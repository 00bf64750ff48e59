/** Answers one line: from its request to the answer object. */

import { samplerSeed } from '../openai/generation-fields.ts';
import type { Answer, AnswerHow, Call } from './call.ts';
import type { Engine } from './engine.ts';
import { seedOf } from './line-ids.ts';
import type { LineKey } from './line-table.ts';

export interface AnswerOptions extends Omit<AnswerHow, 'usualTokens' | 'seed'> {
  /** `max_tokens` of requests that do not set it. */
  readonly maxTokens: number;
  /** The base from which seeds are derived for requests that set none. */
  readonly seed: number;
}

/**
 * The answer to a line's request.
 * @throws Refusal when the request is at fault; other errors of the engine
 */
export function answerCall(
  engine: Engine,
  call: Call,
  key: LineKey,
  { maxTokens, seed: base, signal, onTokens }: AnswerOptions,
): Promise<Answer> {
  const seed = samplerSeed(call.request.sampling.seed ?? seedOf(key, base));
  return call.answer(engine, { usualTokens: maxTokens, seed, signal, onTokens });
}
