/** The interface that a batch needs from the engine that runs the model. */

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
  /** Options for each token, such as biases; none by default. */
  readonly steering?: Steering;
  /** The required form of the answer; none by default. */
  readonly form?: AnswerForm | null;
  /** Whether special tokens appear in the text; false by default. */
  readonly keepSpecial?: boolean;
  readonly signal: AbortSignal;
  /** Called during generation with the number of tokens so far. */
  readonly onTokens: (tokens: number) => void;
}

export interface Engine extends Answerer, Contexts {
  /**
   * The token ids of a prompt, including those that the model expects around it; given ids are checked.
   * @throws PromptTooLongError when there are more than the context holds; InputError for an invalid prompt;
   * InterruptedError
   */
  encode(prompt: string | readonly number[], signal: AbortSignal): Promise<readonly number[]>;
  /** Prepares a chat for its answers. @throws Refusal when the request is at fault */
  prepareChat(request: ChatRequest, options: PrepareOptions): Promise<PreparedChat>;
  /**
   * Generates an answer. May be called while other calls are under way.
   * @throws InterruptedError when the signal aborts; GrammarError when the grammar fails; every other
   * error ends the batch
   */
  complete(call: EngineCall): Promise<Completion>;
}
