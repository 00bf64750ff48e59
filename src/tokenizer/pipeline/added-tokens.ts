/**
 * Added tokens, which are matched in the text before the model processes it.
 *
 *     text -> raw matches | rest -> normalizer -> matches of normalized tokens | rest -> model
 */

import { brief } from '../../checkpoint/json-file.ts';
import { InputError } from '../../errors.ts';
import type { AddedToken } from '../tokenizer-json.ts';
import { blanks, wordCharacters } from '../unicode.ts';
import type { Normalizer } from './normalizers.ts';
import { Trie } from './trie.ts';
import type { Vocabulary } from './vocabulary.ts';

/** The parts of a text: added tokens, and text for the model, which is normalized and never empty. */
export interface Parts {
  token(id: number): void;
  text(text: string, atStart: boolean): void;
}

/**
 * The added tokens of a tokenizer. A token that is in the vocabulary keeps its id there; the others get the
 * ids after the vocabulary's end, in order. The reference does the same, whatever ids the file gives.
 */
export class AddedTokens {
  readonly #byId = new Map<number, AddedToken>();
  readonly #ids = new Map<string, number>();
  readonly #specialTexts = new Set<string>();
  readonly #vocabulary: Vocabulary;
  readonly #file: string;

  /** @param file where the tokens come from, for messages */
  constructor(vocabulary: Vocabulary, file: string) {
    this.#vocabulary = vocabulary;
    this.#file = file;
  }

  get byId(): ReadonlyMap<number, AddedToken> {
    return this.#byId;
  }

  idOf(content: string): number | undefined {
    return this.#ids.get(content);
  }

  /** Whether a text is the content of a special token. */
  isSpecial(text: string): boolean {
    return this.#specialTexts.has(text);
  }

  /**
   * Adds tokens, or changes the flags of existing ones. The ids in their entries are ignored.
   * @throws InputError when a token would get the id of another token of the vocabulary
   */
  add(tokens: Iterable<Omit<AddedToken, 'id'>>): void {
    const { count } = this.#vocabulary;
    let largest = -1;
    for (const id of this.#byId.keys()) largest = Math.max(largest, id);
    let next = Math.max(largest + 1, count);
    for (const token of tokens) {
      if (token.content === '') continue;
      const known = this.#ids.get(token.content) ?? this.#vocabulary.idOf(token.content);
      const id = known ?? next++;
      const other = known === undefined ? this.#vocabulary.tokenOf(id) : undefined;
      if (other !== undefined) {
        throw new InputError(
          `the added token ${brief(token.content)} would get id ${id}, since the vocabulary has ${count} tokens, but that id belongs to ${brief(other)}`,
          { file: this.#file },
          'The ids of the vocabulary have holes: give the token an id there',
        );
      }
      this.#ids.set(token.content, id);
      this.#byId.set(id, { ...token, id });
      if (token.special) this.#specialTexts.add(token.content);
    }
  }
}

const endsWithWord = new RegExp(`${wordCharacters}$`, 'v');
const startsWithWord = new RegExp(`^${wordCharacters}`, 'v');
const blank = new RegExp(`^${blanks}$`, 'v');

/** Finds added tokens in texts. */
export class AddedTokenSplitter {
  readonly #tokens: AddedTokens;
  readonly #normalize: Normalizer | null;
  readonly #splitSpecial: boolean;
  readonly #raw = new Trie();
  readonly #normalized = new Trie();
  /** The normalized forms of normalized tokens, if they differ from the content. */
  readonly #forms = new Map<number, string>();

  /**
   * @param splitSpecial whether special tokens in a text are treated as text
   * @param raw whether all tokens are matched in the text before it is normalized
   * @throws InputError when two tokens look the same
   */
  constructor(
    tokens: AddedTokens,
    normalize: Normalizer | null,
    options: { readonly splitSpecial: boolean; readonly raw: boolean; readonly file: string },
  ) {
    this.#tokens = tokens;
    this.#normalize = normalize;
    this.#splitSpecial = options.splitSpecial;
    for (const [id, token] of tokens.byId) {
      const { content } = token;
      const normalized = token.normalized && !options.raw;
      const form = normalized && normalize !== null ? normalize(content, true) : content;
      const trie = normalized ? this.#normalized : this.#raw;
      if (form === '' || !trie.add(form, id)) {
        const what = form === '' ? 'is empty' : 'looks like another';
        throw new InputError(
          `the added token ${brief(content)} ${what}${normalized ? ' when it is normalized' : ''}`,
          { file: options.file },
        );
      }
      if (form !== content) this.#forms.set(id, form);
    }
  }

  /** The text of an added token, as decoders see it. */
  textOf(id: number): string | undefined {
    return this.#forms.get(id) ?? this.#tokens.byId.get(id)?.content;
  }

  split(text: string, parts: Parts): void {
    this.#find(text, this.#raw, true, {
      token: (id) => parts.token(id),
      text: (rest, atStart) => {
        const normalized = this.#normalize === null ? rest : this.#normalize(rest, atStart);
        this.#find(normalized, this.#normalized, atStart, parts);
      },
    });
  }

  #find(text: string, trie: Trie, atStart: boolean, parts: Parts): void {
    let covered = 0;
    for (let at = 0; at < text.length; ) {
      const found = trie.longestAt(text, at);
      if (found === null) {
        at++;
        continue;
      }
      const { id, end } = found;
      const stretch = this.#stretch(text, id, at, end, covered);
      at = end;
      if (stretch === null) continue;
      if (covered < stretch.start) {
        parts.text(text.slice(covered, stretch.start), atStart && covered === 0);
      }
      parts.token(id);
      covered = stretch.end;
    }
    if (covered < text.length) parts.text(text.slice(covered), atStart && covered === 0);
  }

  /**
   * The part of the text that a token matches; null if it must not match there. The text before `covered`
   * is already matched.
   */
  #stretch(
    text: string,
    id: number,
    start: number,
    end: number,
    covered: number,
  ): { readonly start: number; readonly end: number } | null {
    const token = this.#tokens.byId.get(id) as AddedToken;
    if (this.#splitSpecial && this.#tokens.isSpecial(token.content)) return null;
    if (token.single_word) {
      // A character has at most two UTF-16 units.
      const before = text.slice(Math.max(0, start - 2), start);
      if (endsWithWord.test(before) || startsWithWord.test(text.slice(end, end + 2))) return null;
    }
    let from = start;
    let to = end;
    if (token.lstrip) {
      while (from > 0 && blank.test(text[from - 1] as string)) from--;
      from = Math.max(from, covered);
    }
    if (token.rstrip) while (to < text.length && blank.test(text[to] as string)) to++;
    return { start: from, end: to };
  }
}
