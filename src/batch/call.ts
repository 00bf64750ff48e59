/** The request of a line, for any endpoint. */

import type { Answerer } from '../openai/answerer.ts';
import type { ChatRequest } from '../openai/chat-request.ts';
import type { GenerationFields } from '../openai/generation-fields.ts';
import type { Usage } from '../openai/usage.ts';
import type { Engine } from './engine.ts';

/** Tokens in addition to those of a text: special ones, and those that a normalizer may add to a short text. */
export const addedTokens = 32;

/** The resources that an answer needs. */
export interface Needs {
  /** An upper bound for the prompt's tokens, known before it is encoded. */
  readonly promptTokens: number;
  /** How many of the largest logits sampling needs; null: all. */
  readonly bestLogits: number | null;
  /** Whether it needs a chat template. */
  readonly template: boolean;
  /** Whether it needs a grammar. */
  readonly grammar: boolean;
  /** The number of answers to the prompt. */
  readonly answers: number;
}

/** Bytes of a chat's rendered messages. @throws Refusal, InputError when they cannot be rendered */
export type MeasureChat = (request: ChatRequest) => Promise<number>;

/** The options of an answer. */
export interface AnswerHow {
  /** The length of an answer in tokens if the request sets none. */
  readonly usualTokens: number;
  /** The sampler's seed. */
  readonly seed: number;
  readonly signal: AbortSignal;
  /** Called during generation with the tokens so far, and the most that there can be. */
  readonly onTokens: (tokens: number, most: number) => void;
}

/** The result of a request, with its token counts. */
export interface Answer extends Usage {
  /** Makes the answer object; `id` is given without the API's prefix. */
  readonly body: (id: string, by: Answerer) => object;
}

/** A parsed request. */
export interface Call {
  readonly request: GenerationFields;
  readonly needs: (measure: MeasureChat) => Promise<Needs>;
  /** @throws Refusal when the request is at fault; other errors of the engine */
  readonly answer: (engine: Engine, how: AnswerHow) => Promise<Answer>;
}
