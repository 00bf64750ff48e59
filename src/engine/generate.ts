/** The generation loop: prefill, then sample and forward until something ends it. */

import { InputError, InterruptedError } from '../errors.ts';
import { StreamDecoder } from '../tokenizer/stream-decoder.ts';
import { Sampler } from './sampler.ts';
import type { SamplingOptions } from './sampling-options.ts';
import type { Sequence } from './sequence.ts';
import type { Drafter } from './speculation/draft.ts';
import { SpeculativeTokens } from './speculation/speculative-tokens.ts';
import type { RunStats } from './stats.ts';
import { StopStrings } from './stop-strings.ts';
import type { TokenGuide } from './token-guide.ts';
import { drawToken, SingleTokens, type SourceParts, type TokenSource } from './token-source.ts';

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
  /** Whether the text has special tokens as they are written. Default: false. */
  readonly keepSpecial?: boolean;
  /** Has a say in each token; one after the other, as it may depend on those before. */
  readonly guide?: TokenGuide | undefined;
  readonly signal?: AbortSignal;
  /**
   * Proposes tokens, of which the model verifies several in one pass; the text is the same. For a
   * runtime that was planned with `draftTokens`.
   */
  readonly draft?: Drafter | undefined;
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
 * Generates after a prompt. Of what the sequence holds, it keeps what the prompt begins with. May be
 * called for many sequences of a runtime at once.
 * @throws InputError when the prompt leaves no room in the context
 */
export async function generate(
  sequence: Sequence,
  options: GenerateOptions,
): Promise<GenerateResult> {
  const { promptIds, maxTokens, guide } = options;
  const { model, plan, stats } = sequence.runtime;
  const { tokenizer } = model;
  const { context } = plan;
  if (promptIds.length === 0) {
    throw new InputError('the prompt is empty and the model has no BOS token to start from');
  }
  const sampler = new Sampler(options.sampling);
  const decoder = new StreamDecoder(tokenizer, { skipSpecial: options.keepSpecial !== true });
  decoder.follow(promptIds);
  const stop = new StopStrings(options.stop ?? []);
  const endIds = new Set(options.ignoreEos ? [] : tokenizer.eosIds);
  const stopIds = new Set((options.stop ?? []).map((text) => tokenizer.specialId(text)));
  const tokens: number[] = [];
  const ids = [...promptIds];
  let text = '';
  const emit = (piece: string) => {
    if (piece === '') return;
    text += piece;
    options.onText?.(piece);
  };

  const recorder = stats.begin();
  const { signal } = options;
  const drafter = options.draft;
  const draft = drafter?.begin(sequence, sampler);
  const wanted = guide === undefined ? sampler.wanted : 'last';
  const parts: SourceParts = { sequence, sampler, recorder, wanted, guide, signal };
  const source: TokenSource =
    drafter && draft
      ? new SpeculativeTokens({ ...parts, drafter, draft, endIds })
      : new SingleTokens(parts);

  const run = async (): Promise<FinishReason> => {
    const rest = promptIds.slice(keepBeginning(sequence, promptIds));
    const logits = await recorder.prefill(async () => {
      await draft?.prepare(promptIds, signal);
      return sequence.forward(rest, wanted, signal && { signal });
    });
    if (maxTokens <= 0) return 'length';
    let token = await drawToken(parts, logits, ids);
    for (;;) {
      if (endIds.has(token)) return 'eos';
      if (stopIds.has(token)) return 'stop';
      tokens.push(token);
      ids.push(token);
      emit(stop.push(decoder.push(token)));
      if (stop.found) return 'stop';
      if (tokens.length >= maxTokens) return 'length';
      if (ids.length > context) return 'context';
      token = await source.next(ids, maxTokens - tokens.length);
    }
  };

  const finishReason = await run().catch((error: unknown): FinishReason => {
    if (error instanceof InterruptedError) return 'interrupted';
    throw error;
  });
  source.end();
  emit(stop.push(decoder.flush()));
  emit(stop.flush());
  const figures = recorder.snapshot(promptIds.length, tokens.length, source.figures);
  return { text, promptTokens: promptIds, tokens, finishReason, stats: figures };
}

/**
 * Forgets what the sequence holds beyond the beginning that it has in common with a prompt. The prompt's
 * last token is forgotten in any case: it is computed, as its logits are wanted.
 * @returns how many of the prompt's tokens need not be computed
 */
export function keepBeginning(sequence: Sequence, promptIds: readonly number[]): number {
  sequence.rewind(Math.min(commonLength(sequence.ids, promptIds), promptIds.length - 1));
  return sequence.length;
}

/** How many ids two lists begin with alike. */
export function commonLength(a: readonly number[], b: readonly number[]): number {
  let length = 0;
  while (length < Math.min(a.length, b.length) && a[length] === b[length]) length++;
  return length;
}
