/** What a line asks for, whatever endpoint it goes to. */

import type { Answerer } from '../openai/answerer.ts';
import type { ChatRequest } from '../openai/chat-request.ts';
import type { GenerationFields } from '../openai/generation-fields.ts';
import type { Usage } from '../openai/usage.ts';
import type { Engine } from './engine.ts';

/** Tokens beside those of a text: special ones, and what a normalizer may add to a short one. */
export const addedTokens = 32;

/** What answering a request takes. */
export interface Needs {
  /** Tokens of the prompt at most, as far as can be told without making them. */
  readonly promptTokens: number;
  /** How many of the largest logits decide what is sampled; null: all of them do. */
  readonly bestLogits: number | null;
  /** Whether a chat template is wanted. */
  readonly template: boolean;
  /** Whether an answer is held to a grammar. */
  readonly grammar: boolean;
  /** Answers to the prompt. */
  readonly answers: number;
}

/** Bytes of the text that a chat's messages become. @throws Refusal, InputError when they become none */
export type MeasureChat = (request: ChatRequest) => Promise<number>;

/** How a request is answered. */
export interface AnswerHow {
  /** Tokens of an answer where the request does not say how many. */
  readonly usualTokens: number;
  /** Of the sampler. */
  readonly seed: number;
  readonly signal: AbortSignal;
  /** Called as tokens come, with how many there are, and how many there can be. */
  readonly onTokens: (tokens: number, most: number) => void;
}

/** What was made of a request, and what it cost. */
export interface Answer extends Usage {
  /** The object that answers; `id` comes without the prefix that the API gives it. */
  readonly body: (id: string, by: Answerer) => object;
}

/** A request that was read. */
export interface Call {
  readonly request: GenerationFields;
  readonly needs: (measure: MeasureChat) => Promise<Needs>;
  /** @throws Refusal when the request is at fault; what the engine throws else */
  readonly answer: (engine: Engine, how: AnswerHow) => Promise<Answer>;
}
