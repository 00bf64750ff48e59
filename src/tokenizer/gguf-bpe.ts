/**
 * Byte-level BPE from the lists of a GGUF file: builds the tables directly, without the intermediate
 * objects of a tokenizer.json, and writes tokenizer.json as bytes. For the 151,936 tokens of Qwen2.5 this
 * takes 0.1 s instead of 1.3 s.
 */

import { InputError } from '../errors.ts';
import type { TextList } from '../text-list.ts';
import { mergeProblem } from './from-bpe-files.ts';
import type { BpeTables } from './pipeline/bpe.ts';
import { MergeTableBuilder } from './pipeline/merges.ts';
import { Vocabulary, type VocabularyArrays } from './pipeline/vocabulary.ts';
import type { TokenizerJson } from './tokenizer-json.ts';

/**
 * The tables of a model with these tokens, by id, and merges, the best first.
 * @param counts whether an id belongs to a token; if a token occurs twice, the first counts
 * @throws InputError when a merge is not two tokens that, joined, are a third
 */
export function bpeTablesOf(
  tokens: TextList,
  counts: (id: number) => boolean,
  merges: TextList,
  file: string,
): BpeTables {
  const all = new Vocabulary(utf16Of(tokens, counts));
  const vocabulary = all.repeats ? new Vocabulary(firstOfEach(tokens, counts)) : all;
  const { units, ends } = utf16Of(merges);
  const table = new MergeTableBuilder(vocabulary, merges.length);
  for (let index = 0, start = 0; index < ends.length; index++) {
    const end = ends[index] as number;
    if (end > start && !table.addLine(units, start, end)) {
      const has = (token: string) => vocabulary.idOf(token) !== undefined;
      const problem = mergeProblem(merges.text(index) ?? '', has) ?? 'is not a merge';
      throw new InputError(
        `line ${index + 1} ${problem}`,
        { file },
        "The file's tokenizer is incomplete",
      );
    }
    start = end;
  }
  return { vocabulary, merges: table.finish() };
}

function* firstOfEach(
  tokens: TextList,
  counts: (id: number) => boolean,
): Generator<readonly [token: string, id: number]> {
  const seen = new Set<string>();
  let id = 0;
  for (const token of tokens) {
    if (counts(id) && !seen.has(token)) yield [token, id];
    if (counts(id)) seen.add(token);
    id++;
  }
}

/** Texts in UTF-16, one after the other; texts that do not count are empty. */
function utf16Of(
  list: TextList,
  counts: (index: number) => boolean = () => true,
): VocabularyArrays {
  const { bytes, length } = list;
  const units = new Uint16Array(bytes.length);
  const ends = new Uint32Array(length);
  const present = new Uint8Array(length);
  let to = 0;
  for (let index = 0; index < length; index++) {
    const end = list.ends[index] as number;
    let at = list.start(index);
    if (counts(index)) {
      present[index] = 1;
      const from = to;
      for (; at < end; at++) {
        const byte = bytes[at] as number;
        const next = at + 1 < end ? (bytes[at + 1] as number) : 0;
        if (byte < 0x80) {
          units[to++] = byte;
        } else if (isPair(byte, next)) {
          units[to++] = ((byte & 0x1f) << 6) | (next & 0x3f);
          at++;
        } else break;
      }
      if (at < end) to = putText(units, from, list.text(index) as string);
    }
    ends[index] = to;
  }
  return { units: units.slice(0, to), ends, present };
}

/** Whether two bytes are a character in UTF-8. */
function isPair(byte: number, next: number): boolean {
  return byte >= 0xc2 && byte < 0xe0 && (next & 0xc0) === 0x80;
}

/** A text has at most as many UTF-16 units as bytes. */
function putText(units: Uint16Array, at: number, text: string): number {
  for (let i = 0; i < text.length; i++) units[at + i] = text.charCodeAt(i);
  return at + text.length;
}

/**
 * A tokenizer.json, in UTF-8, from separate vocabulary and merges.
 * @param tokens as in the file, by id
 * @param merges likewise
 */
export function tokenizerBytes(
  json: TokenizerJson,
  { vocabulary }: BpeTables,
  tokens: TextList,
  merges: TextList,
): Buffer {
  const { present } = vocabulary.arrays;
  // Six times the bytes before each text are more than quotes, ids and commas take.
  const out = new JsonBytes(6 * (tokens.bytes.length + merges.bytes.length) + 64);
  // The last two braces, of the model and of the whole file, follow the large parts.
  const head = Buffer.from(JSON.stringify(json).slice(0, -2));
  out.plain(',"vocab":{');
  for (let id = 0, first = true; id < tokens.length; id++) {
    if (present[id] !== 1) continue;
    if (!first) out.plain(',');
    first = false;
    out.text(tokens, id);
    out.plain(`:${id}`);
  }
  out.plain('},"merges":[');
  for (let index = 0, first = true; index < merges.length; index++) {
    if (merges.start(index) === merges.ends[index]) continue;
    if (!first) out.plain(',');
    first = false;
    out.text(merges, index);
  }
  out.plain(']}}');
  return Buffer.concat([head, out.finish()]);
}

const quote = 0x22;
const backslash = 0x5c;

/** JSON that is written into one buffer. */
class JsonBytes {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(most: number) {
    this.#bytes = Buffer.allocUnsafe(most);
  }

  /** Writes ASCII text unchanged. */
  plain(text: string): void {
    for (let i = 0; i < text.length; i++) this.#bytes[this.#at++] = text.charCodeAt(i);
  }

  /** Writes a text of a list as a quoted string. */
  text(list: TextList, index: number): void {
    const { bytes } = list;
    const end = list.ends[index] as number;
    const begin = this.#at;
    this.#bytes[this.#at++] = quote;
    for (let at = list.start(index); at < end; at++) {
      const byte = bytes[at] as number;
      const next = at + 1 < end ? (bytes[at + 1] as number) : 0;
      const two = isPair(byte, next);
      if (byte < 0x20 || (byte >= 0x80 && !two)) {
        // A text that needs escapes, or may be invalid UTF-8, goes through JSON.stringify.
        this.#at = begin;
        this.#at += this.#bytes.write(JSON.stringify(list.text(index)), begin);
        return;
      }
      if (byte === quote || byte === backslash) this.#bytes[this.#at++] = backslash;
      this.#bytes[this.#at++] = byte;
      if (two) this.#bytes[this.#at++] = bytes[++at] as number;
    }
    this.#bytes[this.#at++] = quote;
  }

  finish(): Buffer {
    return this.#bytes.subarray(0, this.#at);
  }
}
