/** One line's way: request, prompt, what the engine makes of it, the object that answers. */

import { samplerSeed } from '../openai/generation-fields.ts';
import type { Answer, AnswerHow, Call } from './call.ts';
import type { Engine } from './engine.ts';
import { seedOf } from './line-ids.ts';
import type { LineKey } from './line-table.ts';

export interface AnswerOptions extends Omit<AnswerHow, 'usualTokens' | 'seed'> {
  /** Tokens of requests that do not say how many. */
  readonly maxTokens: number;
  /** From which seeds are derived for requests that have none. */
  readonly seed: number;
}

/**
 * The answer to a line's request.
 * @throws Refusal when the request is at fault; what the engine throws else
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
