/**
 * Splits texts into documents, and documents into windows of tokens, a piece at a time, so that texts and
 * documents of any length are processed in bounded memory.
 *
 *     parts of a text -> DocumentSplitter -> parts of documents -> PieceEncoder -> ids -> windows
 */

import { patiently } from '../tokenizer/patience.ts';
import { PieceEncoder } from '../tokenizer/pieces.ts';
import type { Tokenizer } from '../tokenizer/tokenizer.ts';
import { yieldToEventLoop } from '../yield-to-event-loop.ts';

/** A part of a document; documents follow one another. */
export interface DocumentPart {
  readonly text: string;
  /** Whether the document ends with it. */
  readonly ends: boolean;
}

/** Whole documents, or their parts. */
export type Documents = Iterable<string | DocumentPart> | AsyncIterable<string | DocumentPart>;

const mark = '<|endoftext|>';
const endOfDocument: DocumentPart = { text: '', ends: true };

/**
 * Splits a text at lines that hold only `<|endoftext|>`. Newlines at a document's ends are dropped, and so
 * are empty documents and a byte order mark. U+2028 and similar characters do not end a line.
 */
export class DocumentSplitter {
  /** Text that may be the beginning of a mark. */
  #rest = '';
  /** Newlines that are a part of the document only if something follows. */
  #newlines = new NewlineRun();
  #atStart = true;
  #atLineStart = true;
  #isEmpty = true;

  *push(text: string): Generator<DocumentPart> {
    let all = this.#rest + text;
    if (this.#atStart && all !== '') {
      this.#atStart = false;
      if (all.startsWith('\ufeff')) all = all.slice(1);
    }
    const line = all.lastIndexOf('\n') + 1;
    const begun = line > 0 || this.#atLineStart;
    const held = begun && `${mark}\r\n`.startsWith(all.slice(line)) ? line : all.length;
    this.#rest = all.slice(held);
    yield* this.#split(all.slice(0, held), false);
  }

  *end(): Generator<DocumentPart> {
    yield* this.#split(this.#rest, true);
    yield* this.#endDocument();
    this.#rest = '';
  }

  *#split(text: string, isLast: boolean): Generator<DocumentPart> {
    let done = 0;
    for (let at = text.indexOf(mark); at >= 0; at = text.indexOf(mark, at + 1)) {
      const behind = at + mark.length;
      const begins = at === 0 ? this.#atLineStart : text[at - 1] === '\n';
      const ends = behind === text.length ? isLast : /^\r?\n/.test(text.slice(behind, behind + 2));
      if (!begins || !ends) continue;
      yield* this.#add(text.slice(done, at));
      yield* this.#endDocument();
      done = behind;
    }
    yield* this.#add(text.slice(done));
    if (text !== '') this.#atLineStart = text.endsWith('\n');
  }

  *#add(text: string): Generator<DocumentPart> {
    let [first, last] = [0, text.length];
    while (last > 0 && isNewline(text, last - 1)) last--;
    if (last > 0) {
      if (this.#isEmpty) while (isNewline(text, first)) first++;
      else for (const part of this.#newlines.parts()) yield { text: part, ends: false };
      this.#newlines = new NewlineRun();
      this.#isEmpty = false;
      yield { text: text.slice(first, last), ends: false };
    }
    if (!this.#isEmpty) this.#newlines.add(text.slice(last));
  }

  *#endDocument(): Generator<DocumentPart> {
    if (!this.#isEmpty) yield endOfDocument;
    this.#newlines = new NewlineRun();
    this.#isEmpty = true;
  }
}

function isNewline(text: string, at: number): boolean {
  return text[at] === '\n' || text[at] === '\r';
}

/** Newlines, however many: counted where they are alike. */
class NewlineRun {
  readonly #runs: { readonly newline: string; count: number }[] = [];

  add(newlines: string): void {
    for (const newline of newlines.match(/\r\n|\n|\r/g) ?? []) {
      const last = this.#runs.at(-1);
      if (last?.newline === newline) last.count++;
      else this.#runs.push({ newline, count: 1 });
    }
  }

  *parts(): Generator<string> {
    const most = 4096;
    for (const { newline, count } of this.#runs) {
      for (let left = count; left > 0; left -= most) yield newline.repeat(Math.min(most, left));
    }
  }
}

/** Documents of a text: split at lines that hold only `<|endoftext|>`, empty ones left out. */
export function splitDocuments(text: string): string[] {
  const splitter = new DocumentSplitter();
  const documents: string[] = [];
  let document = '';
  for (const part of [...splitter.push(text), ...splitter.end()]) {
    document += part.text;
    if (!part.ends) continue;
    documents.push(document);
    document = '';
  }
  return documents;
}

/** The parts of the documents of a text that arrives in parts. */
export async function* documentParts(parts: AsyncIterable<string>): AsyncGenerator<DocumentPart> {
  const splitter = new DocumentSplitter();
  for await (const part of parts) yield* splitter.push(part);
  yield* splitter.end();
}

/** The documents of a text that arrives in parts, each as a whole. */
export async function* documentsOf(parts: AsyncIterable<string>): AsyncGenerator<string> {
  let document = '';
  for await (const part of documentParts(parts)) {
    document += part.text;
    if (!part.ends) continue;
    yield document;
    document = '';
  }
}

/**
 * The ids of a text that arrives in parts: those of the whole, a piece at a time.
 * @throws InterruptedError when `signal` has aborted
 */
export async function* idsOfParts(
  parts: Iterable<string> | AsyncIterable<string>,
  tokenizer: Pick<Tokenizer, 'encode'>,
  file: string,
  signal?: AbortSignal,
): AsyncGenerator<readonly number[]> {
  const encoder = new PatientEncoder(tokenizer, file, signal);
  for await (const part of parts) yield* encoder.push(part);
  yield await encoder.end();
}

/** Encodes a piece at a time; the event loop runs between pieces. */
class PatientEncoder {
  readonly #encoder: PieceEncoder;
  readonly #signal: AbortSignal | undefined;

  constructor(tokenizer: Pick<Tokenizer, 'encode'>, file: string, signal: AbortSignal | undefined) {
    this.#encoder = new PieceEncoder((text) => tokenizer.encode(text, { once: true }), file);
    this.#signal = signal;
  }

  async *push(text: string): AsyncGenerator<readonly number[]> {
    let more = text;
    const next = () => {
      const added = this.#encoder.push(more);
      more = '';
      return added.next().value ?? null;
    };
    for (;;) {
      const ids = await patiently(next, this.#signal);
      if (ids === null) return;
      yield ids;
      await yieldToEventLoop(this.#signal);
    }
  }

  end(): Promise<readonly number[]> {
    return patiently(() => this.#encoder.end(), this.#signal);
  }
}

/**
 * Documents as windows of `length` ids, the last of each document shorter. Documents are tokenised
 * without special tokens.
 * @param file name of the text in messages
 * @throws InterruptedError when `signal` has aborted
 */
export async function* windowsOf(
  documents: Documents,
  tokenizer: Pick<Tokenizer, 'encode'>,
  length: number,
  { file = 'the text', signal }: { readonly file?: string; readonly signal?: AbortSignal } = {},
): AsyncGenerator<readonly number[]> {
  const encoder = new PatientEncoder(tokenizer, file, signal);
  let rest: readonly number[] = [];
  function* whole(ids: readonly number[]): Generator<readonly number[]> {
    rest = rest.concat(ids);
    let at = 0;
    for (; rest.length - at >= length; at += length) yield rest.slice(at, at + length);
    rest = rest.slice(at);
  }
  for await (const document of documents) {
    const { text, ends } = typeof document === 'string' ? { text: document, ends: true } : document;
    for await (const ids of encoder.push(text)) yield* whole(ids);
    if (!ends) continue;
    yield* whole(await encoder.end());
    if (rest.length > 0) yield rest;
    rest = [];
  }
}
