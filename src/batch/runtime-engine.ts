/** A loaded model as the engine of a batch; each call has its own sequence. */

import type { ChatTemplates } from '../chat/chat-templates.ts';
import { generate } from '../engine/generate.ts';
import type { Runtime } from '../engine/runtime.ts';
import type { Sequence } from '../engine/sequence.ts';
import type { Drafter } from '../engine/speculation/draft.ts';
import { InterruptedError } from '../errors.ts';
import { Grammars } from '../grammar/grammars.ts';
import { guideOf } from '../openai/answer-guide.ts';
import type { Answerer } from '../openai/answerer.ts';
import { type PreparedChat, type PrepareOptions, prepareChat } from '../openai/chat-prompt.ts';
import type { ChatRequest } from '../openai/chat-request.ts';
import { type Completion, finishOf } from '../openai/completion.ts';
import { encodePromptOrIds } from '../openai/prompt-room.ts';
import type { Engine, EngineCall } from './engine.ts';

export interface RuntimeEngineOptions {
  /** Null if the model has none, or no line needs one. */
  readonly templates?: ChatTemplates | null;
  /** Proposes tokens for all calls. */
  readonly draft?: Drafter | undefined;
}

export class RuntimeEngine implements Engine {
  readonly model: string;
  readonly fingerprint: string;
  readonly #runtime: Runtime;
  /** The first line that needs a grammar starts the thread. */
  readonly #grammars: Grammars;
  readonly #options: RuntimeEngineOptions;
  /** Idle open sequences, kept so that a prompt with the same beginning can reuse theirs. */
  readonly #idle: Sequence[] = [];

  constructor(
    runtime: Runtime,
    { model, fingerprint }: Answerer,
    options: RuntimeEngineOptions = {},
  ) {
    this.model = model;
    this.fingerprint = fingerprint;
    this.#runtime = runtime;
    this.#options = options;
    const { tokenizer, manifest } = runtime.model;
    this.#grammars = new Grammars(tokenizer, manifest.spec.vocabSize);
  }

  get context(): number {
    return this.#runtime.plan.context;
  }

  get maxContext(): number {
    return this.#runtime.model.manifest.spec.maxPositions;
  }

  encode(prompt: string | readonly number[], signal: AbortSignal): Promise<readonly number[]> {
    return encodePromptOrIds(this.#runtime.model.tokenizer, prompt, this.context, signal);
  }

  prepareChat(request: ChatRequest, options: PrepareOptions): Promise<PreparedChat> {
    const { templates = null } = this.#options;
    const { model } = this.#runtime;
    const parts = { model, templates, grammars: this.#grammars, contexts: this };
    return prepareChat(request, parts, options);
  }

  async complete({ onTokens, steering, form, ...call }: EngineCall): Promise<Completion> {
    if (call.signal.aborted) throw new InterruptedError();
    const guided = steering && { steering, form: form ?? null };
    const guide = guided && (await guideOf(this.#runtime.model, this.#grammars, guided));
    const sequence = this.#idle.pop() ?? this.#runtime.sequence();
    try {
      let made = 0;
      const result = await generate(sequence, {
        ...call,
        ...(guide ? { guide } : {}),
        draft: this.#options.draft,
        onText: () => onTokens(++made),
      });
      const { text, promptTokens, tokens, finishReason } = result;
      if (finishReason === 'interrupted') throw new InterruptedError();
      return {
        text,
        promptTokens: promptTokens.length,
        tokens: tokens.length,
        finishReason: finishOf(finishReason),
      };
    } finally {
      guide?.close();
      this.#idle.push(sequence);
    }
  }

  /** Closes what the engine itself opened; the runtime stays open. */
  close(): Promise<void> {
    return this.#grammars.close();
  }
}
