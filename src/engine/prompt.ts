/** The ids of a prompt that arrives in parts, in bounded memory. */

import { InputError } from '../errors.ts';
import { patiently } from '../tokenizer/patience.ts';
import type { Tokenizer } from '../tokenizer/tokenizer.ts';
import { idsOfParts } from './documents.ts';

/** Longer prompts are tokenised while they arrive. */
const shortUnits = 16 * 1024; // UTF-16

export interface PromptLimits {
  /** The most tokens that fit the model's context. */
  readonly most: number;
  /** Name of the prompt's source in messages. */
  readonly file: string;
  readonly signal?: AbortSignal;
}

/** A prompt that is longer than the model's context. */
export class PromptTooLongError extends InputError {
  /** Its number of tokens as a message shows it: a number, or `more than` a number. */
  readonly tokens: string;

  constructor(tokens: string, most: number, hint: string) {
    super(`the prompt has ${tokens} tokens, the model's context ${most}`, {}, hint);
    this.tokens = tokens;
  }
}

/**
 * The ids of the whole text with the special tokens that the model expects around it, as
 * `encodePrompt` gives them.
 * @throws PromptTooLongError as soon as there are too many tokens; the rest is then not read
 */
export async function encodePromptParts(
  tokenizer: Pick<Tokenizer, 'encode' | 'encodePrompt'>,
  parts: Iterable<string> | AsyncIterable<string>,
  { most, file, signal }: PromptLimits,
): Promise<number[]> {
  let begun = '';
  let isShort = true;
  const around = specialAround(tokenizer);
  const ids: number[] = [...around.before];
  const long = async function* (): AsyncGenerator<string> {
    for await (const part of parts) {
      if (isShort) begun += part;
      if (isShort && begun.length <= shortUnits) continue;
      yield isShort ? begun : part;
      isShort = false;
    }
  };
  for await (const piece of idsOfParts(long(), tokenizer, file, signal)) {
    for (const id of piece) ids.push(id);
    if (ids.length <= most) continue;
    throw new PromptTooLongError(`more than ${most}`, most, 'Shorten it');
  }
  const whole = isShort
    ? await patiently(() => tokenizer.encodePrompt(begun, { once: true }), signal)
    : ids.concat(around.after);
  if (whole.length > most) {
    const hint = `Shorten it by at least ${whole.length - most} tokens`;
    throw new PromptTooLongError(`${whole.length}`, most, hint);
  }
  return whole;
}

/** The special tokens before and after every prompt. */
function specialAround(tokenizer: Pick<Tokenizer, 'encode' | 'encodePrompt'>): {
  readonly before: readonly number[];
  readonly after: readonly number[];
} {
  const plain = tokenizer.encode('a');
  const whole = tokenizer.encodePrompt('a');
  const start = whole.findIndex((_id, at) => plain.every((id, i) => whole[at + i] === id));
  const found = Math.max(0, start);
  return { before: whole.slice(0, found), after: whole.slice(found + plain.length) };
}
