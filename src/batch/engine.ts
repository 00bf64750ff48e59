/** What a batch needs of whatever runs the model. */

import type { SamplingOptions } from '../engine/sampling-options.ts';
import type { AnswerForm, Steering } from '../openai/answer-guide.ts';
import type { Answerer } from '../openai/answerer.ts';
import type { PreparedChat, PrepareOptions } from '../openai/chat-prompt.ts';
import type { ChatRequest } from '../openai/chat-request.ts';
import type { Completion } from '../openai/completion.ts';
import type { Contexts } from '../openai/prompt-room.ts';

export interface EngineCall {
  readonly promptIds: readonly number[];
  readonly maxTokens: number;
  readonly sampling: SamplingOptions;
  readonly stop: readonly string[];
  /** What is asked of each token besides; nothing by default. */
  readonly steering?: Steering;
  /** What the answer is held to; nothing by default. */
  readonly form?: AnswerForm | null;
  /** Whether the text has special tokens as they are written; false by default. */
  readonly keepSpecial?: boolean;
  readonly signal: AbortSignal;
  /** Called as tokens come, with how many there are. */
  readonly onTokens: (tokens: number) => void;
}

export interface Engine extends Answerer, Contexts {
  /**
   * The ids of a prompt's tokens, with those that the model expects around it; ids are checked.
   * @throws PromptTooLongError when they are more than the context; InputError for a prompt that is no
   * good; InterruptedError
   */
  encode(prompt: string | readonly number[], signal: AbortSignal): Promise<readonly number[]>;
  /** What the answers to a chat are made from. @throws Refusal when the request is at fault */
  prepareChat(request: ChatRequest, options: PrepareOptions): Promise<PreparedChat>;
  /**
   * Generates. May be called while other calls are under way.
   * @throws InterruptedError when the signal aborts; GrammarError for what the answer is held to; every other error ends the batch
   */
  complete(call: EngineCall): Promise<Completion>;
}
