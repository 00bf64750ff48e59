/** The generation loop: prefill, then sample and forward until something ends it. */

import { InputError, InterruptedError } from '../errors.ts';
import { StreamDecoder } from '../tokenizer/stream-decoder.ts';
import { Sampler, type SamplingOptions } from './sampler.ts';
import type { Session } from './session.ts';
import type { RunStats } from './stats.ts';
import { StopStrings } from './stop-strings.ts';

/** Why generation ended; `context`: no position is left, `length`: max tokens were made. */
export type FinishReason = 'eos' | 'stop' | 'length' | 'context' | 'interrupted';

export interface GenerateOptions {
  readonly promptIds: readonly number[];
  readonly maxTokens: number;
  readonly sampling: SamplingOptions;
  /** Texts to end before. The text of one special token ends at that token too, which is not in the text. */
  readonly stop?: readonly string[];
  /** Take what ends a text for a token like any other. Default: false. */
  readonly ignoreEos?: boolean;
  readonly signal?: AbortSignal;
  /** Called with each piece of text as soon as it is certain. */
  readonly onText?: (text: string) => void;
}

export interface GenerateResult {
  readonly text: string;
  readonly promptTokens: readonly number[];
  /** Generated ids; a token that ends the text, or stands for a stop text, is not among them. */
  readonly tokens: readonly number[];
  readonly finishReason: FinishReason;
  readonly stats: RunStats;
}

/**
 * Generates after a prompt, from an empty KV cache.
 * @throws InputError when the prompt leaves no room in the context
 */
export async function generate(
  session: Session,
  options: GenerateOptions,
): Promise<GenerateResult> {
  const { promptIds, maxTokens } = options;
  const { tokenizer } = session.model;
  const context = session.plan.context;
  if (promptIds.length === 0) {
    throw new InputError('the prompt is empty and the model has no token to begin with');
  }
  const sampler = new Sampler(options.sampling);
  const decoder = new StreamDecoder(tokenizer, { skipSpecial: true });
  decoder.follow(promptIds);
  const stop = new StopStrings(options.stop ?? []);
  const endIds = new Set(options.ignoreEos ? [] : tokenizer.eosIds);
  const stopIds = new Set((options.stop ?? []).map((text) => tokenizer.specialId(text)));
  const tokens: number[] = [];
  const sequence = [...promptIds];
  let text = '';
  const emit = (piece: string) => {
    if (piece === '') return;
    text += piece;
    options.onText?.(piece);
  };

  const run = async (): Promise<FinishReason> => {
    session.rewind();
    session.stats.restart();
    let logits = await session.stats.prefill(() =>
      session.forward(promptIds, sampler.wanted, options),
    );
    for (;;) {
      if (tokens.length >= maxTokens) return 'length';
      const token = sampler.sample(logits, sequence);
      if (endIds.has(token)) return 'eos';
      if (stopIds.has(token)) return 'stop';
      tokens.push(token);
      sequence.push(token);
      emit(stop.push(decoder.push(token)));
      if (stop.found) return 'stop';
      if (tokens.length >= maxTokens) return 'length';
      if (session.length >= context) return 'context';
      logits = await session.stats.decode(() => session.forward([token], sampler.wanted, options));
    }
  };

  const finishReason = await run().catch((error: unknown): FinishReason => {
    if (error instanceof InterruptedError) return 'interrupted';
    throw error;
  });
  emit(stop.push(decoder.flush()));
  emit(stop.flush());
  const stats = session.stats.snapshot(promptIds.length, tokens.length);
  return { text, promptTokens: promptIds, tokens, finishReason, stats };
}
