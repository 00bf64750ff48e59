/**
 * A loaded model that answers many requests; each waits for a sequence, and has its own sampling and
 * grammar.
 */

import { generate } from '../engine/generate.ts';
import type { Runtime } from '../engine/runtime.ts';
import type { SamplingOptions } from '../engine/sampling-options.ts';
import type { Drafter } from '../engine/speculation/draft.ts';
import { InterruptedError } from '../errors.ts';
import { Grammars } from '../grammar/grammars.ts';
import {
  type AnswerForm,
  type AnswerGuide,
  guideOf,
  type Steering,
} from '../openai/answer-guide.ts';
import type { Answerer } from '../openai/answerer.ts';
import { type Completion, finishOf } from '../openai/completion.ts';
import type { Contexts } from '../openai/prompt-room.ts';
import type { DrawnToken } from '../openai/token-probabilities.ts';
import { Figures } from './figures.ts';
import { JobQueue } from './job-queue.ts';
import { type Lease, SequencePool } from './sequence-pool.ts';

export interface AnswerCall {
  readonly promptIds: readonly number[];
  readonly maxTokens: number;
  readonly sampling: SamplingOptions;
  readonly stop: readonly string[];
  readonly steering: Steering;
  readonly form: AnswerForm | null;
  /** Whether special tokens appear in the text. */
  readonly keepSpecial: boolean;
  readonly signal: AbortSignal;
  /** Called with each piece of text, and the drawn tokens since the last piece with their probabilities. */
  readonly onText?: (text: string, drawn: readonly DrawnToken[]) => void;
}

/** A finished answer. */
export interface ServedAnswer extends Completion {
  /** Prompt tokens that were already in the KV cache. */
  readonly reusedTokens: number;
  /** Drawn tokens that came after the last piece of text. */
  readonly drawn: readonly DrawnToken[];
}

export interface ServiceOptions {
  readonly answerer: Answerer;
  /** The most requests that may wait. */
  readonly queue: number;
  /** Whether grammars are supported. */
  readonly grammars: boolean;
  /** Proposes tokens. */
  readonly draft?: Drafter | undefined;
}

export class ModelService implements Contexts {
  readonly runtime: Runtime;
  readonly answerer: Answerer;
  readonly queue: JobQueue;
  readonly figures: Figures;
  /** Null if grammars are disabled. */
  readonly grammars: Grammars | null;
  readonly #pool: SequencePool;
  readonly #draft: Drafter | undefined;

  constructor(runtime: Runtime, { answerer, queue, grammars, draft }: ServiceOptions) {
    const { plan, model, stats } = runtime;
    const { sequences: parallel } = plan.kvCache;
    this.runtime = runtime;
    this.answerer = answerer;
    this.#draft = draft;
    this.queue = new JobQueue(parallel, queue);
    this.#pool = new SequencePool(runtime, parallel);
    this.grammars = grammars ? new Grammars(model.tokenizer, model.manifest.spec.vocabSize) : null;
    this.figures = new Figures({
      model: answerer.model,
      context: plan.context,
      parallel,
      queueLimit: queue,
      dramBudget: plan.dramBudget,
      queue: this.queue,
      recorder: stats.begin(),
    });
  }

  get context(): number {
    return this.runtime.plan.context;
  }

  get maxContext(): number {
    return this.runtime.model.manifest.spec.maxPositions;
  }

  /**
   * Answers to one prompt, each with its own seed: that of the call, and the following ones.
   * @param callOf the call for each answer; all have the same prompt
   * @throws InterruptedError when the signal aborts
   */
  async answers(
    count: number,
    callOf: (index: number) => AnswerCall,
  ): Promise<readonly ServedAnswer[]> {
    const calls = Array.from({ length: count }, (_, index) => callOf(index));
    const [first] = calls;
    if (first !== undefined && count > 1) await this.#compute(first);
    return Promise.all(calls.map((call, index) => this.#answer(call, index < count - 1)));
  }

  /** Computes a prompt once, so that several answers share it. */
  #compute({ promptIds, signal }: AnswerCall): Promise<void> {
    return this.queue.run(async () => {
      const lease = this.#pool.take(promptIds);
      const { sequence } = lease;
      try {
        await sequence.forward(promptIds.slice(sequence.length, -1), 'none', { signal });
      } finally {
        this.#pool.giveBack(lease, promptIds);
      }
    }, signal);
  }

  /** @param shared whether another answer to the same prompt follows */
  #answer(call: AnswerCall, shared: boolean): Promise<ServedAnswer> {
    return this.queue.run(async () => {
      const guide = await guideOf(this.runtime.model, this.grammars, call);
      const lease = this.#pool.take(call.promptIds, shared);
      try {
        return await this.#generate(call, lease, guide);
      } finally {
        guide?.close();
        this.#pool.giveBack(lease, call.promptIds);
      }
    }, call.signal);
  }

  async #generate(
    { steering: _, form: __, onText, ...call }: AnswerCall,
    { sequence, reused }: Lease,
    guide: AnswerGuide | null,
  ): Promise<ServedAnswer> {
    const { figures } = this;
    figures.prompted(call.promptIds.length, reused);
    let pieces = 0;
    const result = await generate(sequence, {
      ...call,
      ...(guide === null ? {} : { guide }),
      draft: this.#draft,
      onText: (text) => {
        pieces++;
        figures.generated(1);
        onText?.(text, guide?.takeDrawn() ?? []);
      },
    });
    // Some tokens yield no text.
    figures.generated(Math.max(0, result.tokens.length - pieces));
    const { finishReason, tokens } = result;
    if (finishReason === 'interrupted') throw new InterruptedError();
    const drawn = guide?.takeDrawn() ?? [];
    // The token that ended the text was drawn too, but is not part of it.
    if (drawn.at(-1) !== undefined && drawn.at(-1)?.id !== tokens.at(-1)) drawn.pop();
    return {
      text: result.text,
      promptTokens: call.promptIds.length,
      reusedTokens: reused,
      tokens: tokens.length,
      finishReason: finishOf(finishReason),
      drawn,
    };
  }

  /** Closes what the service itself opened; the runtime stays open. */
  async close(): Promise<void> {
    await this.grammars?.close();
  }
}
