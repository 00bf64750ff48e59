/** Finds tokens that would make an answer invalid UTF-8: a grammar of characters does not exclude them. */

import type { Tokenizer } from '../tokenizer/tokenizer.ts';

/** Bytes with a restricted range of next bytes: the first and the last of that range. */
const followers: Readonly<Record<number, readonly [number, number]>> = {
  224: [0xa0, 0xbf],
  237: [0x80, 0x9f],
  240: [0x90, 0xbf],
  244: [0x80, 0x8f],
};

/** Follows an answer byte by byte. */
export class Utf8Guard {
  readonly #tokenizer: Tokenizer;
  readonly #never: ReadonlySet<number>;
  #last = 0;

  /** @param vocabSize logits */
  constructor(tokenizer: Tokenizer, vocabSize: number) {
    this.#tokenizer = tokenizer;
    this.#never = brokenTokens(tokenizer, vocabSize);
  }

  /** Whether a token would make the bytes so far invalid. */
  breaks(token: number): boolean {
    if (this.#never.has(token)) return true;
    if (followers[this.#last] === undefined) return false;
    const [first] = this.#tokenizer.bytesOf(token);
    return first !== undefined && !mayFollow(this.#last, first);
  }

  take(token: number): void {
    this.#last = this.#tokenizer.bytesOf(token).at(-1) ?? this.#last;
  }
}

function mayFollow(before: number, byte: number): boolean {
  const [first, last] = followers[before] ?? [0, 255];
  return byte >= first && byte <= last;
}

const known = new WeakMap<Tokenizer, ReadonlySet<number>>();

/** Ids of tokens with bytes that are invalid UTF-8 in any position. */
function brokenTokens(tokenizer: Tokenizer, vocabSize: number): ReadonlySet<number> {
  const found = known.get(tokenizer);
  if (found !== undefined) return found;
  const broken = new Set<number>();
  for (let id = 0; id < vocabSize; id++) {
    const isUtf8 = tokenizer
      .bytesOf(id)
      .every(
        (byte, i, bytes) =>
          byte !== 0xc0 && byte !== 0xc1 && byte < 0xf5 && mayFollow(bytes[i - 1] ?? 0, byte),
      );
    if (!isUtf8) broken.add(id);
  }
  known.set(tokenizer, broken);
  return broken;
}
