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
  /**
   * Texts before which generation ends. If one is the text of a special token, generation ends at that token,
   * too, although the token is not in the text.
   */
  readonly stop?: readonly string[];
  /** Treat tokens that end a text like any other token. Default: false. */
  readonly ignoreEos?: boolean;
  /** Whether the text has special tokens as they are written. Default: false. */
  readonly keepSpecial?: boolean;
  /**
   * Influences the choice of each token; tokens are then chosen one by one, as the guide may depend on those
   * before.
   */
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
  /** Generated ids; without a token that ends the text or forms a stop text. */
  readonly tokens: readonly number[];
  readonly finishReason: FinishReason;
  readonly stats: RunStats;
}

/**
 * Generates after a prompt. The sequence keeps those of its tokens that the prompt begins with. May be called
 * for many sequences of a runtime at once.
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
 * Truncates the sequence to the beginning that it shares with a prompt. The prompt's last token is always
 * dropped and computed again, as its logits are needed.
 * @returns how many of the prompt's tokens need not be computed
 */
export function keepBeginning(sequence: Sequence, promptIds: readonly number[]): number {
  sequence.rewind(Math.min(commonLength(sequence.ids, promptIds), promptIds.length - 1));
  return sequence.length;
}

/** The length of the common beginning of two lists of ids. */
export function commonLength(a: readonly number[], b: readonly number[]): number {
  let length = 0;
  while (length < Math.min(a.length, b.length) && a[length] === b[length]) length++;
  return length;
}
