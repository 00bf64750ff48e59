/** A loaded model as the engine of a batch: each call has a sequence of its own. */

import { generate } from '../engine/generate.ts';
import type { Runtime } from '../engine/runtime.ts';
import type { Sequence } from '../engine/sequence.ts';
import type { Drafter } from '../engine/speculation/draft.ts';
import { InterruptedError } from '../errors.ts';
import type { Answerer } from '../openai/answerer.ts';
import type { Completion } from '../openai/completion.ts';
import { encodePromptOrIds } from '../openai/prompt-room.ts';
import type { Engine, EngineCall } from './engine.ts';

export class RuntimeEngine implements Engine {
  readonly model: string;
  readonly fingerprint: string;
  readonly #runtime: Runtime;
  /** Open sequences that nobody uses: what the next prompt has in common with one is kept. */
  readonly #idle: Sequence[] = [];

  readonly #draft: Drafter | undefined;

  /** @param draft proposes tokens for all calls */
  constructor(runtime: Runtime, { model, fingerprint }: Answerer, draft?: Drafter) {
    this.model = model;
    this.fingerprint = fingerprint;
    this.#runtime = runtime;
    this.#draft = draft;
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

  async complete({ onTokens, ...call }: EngineCall): Promise<Completion> {
    if (call.signal.aborted) throw new InterruptedError();
    const sequence = this.#idle.pop() ?? this.#runtime.sequence();
    try {
      let made = 0;
      const result = await generate(sequence, {
        ...call,
        draft: this.#draft,
        onText: () => onTokens(++made),
      });
      const { text, promptTokens, tokens, finishReason } = result;
      if (finishReason === 'interrupted') throw new InterruptedError();
      return {
        text,
        promptTokens: promptTokens.length,
        tokens: tokens.length,
        finishReason: finishReason === 'eos' || finishReason === 'stop' ? 'stop' : 'length',
      };
    } finally {
      this.#idle.push(sequence);
    }
  }
}
