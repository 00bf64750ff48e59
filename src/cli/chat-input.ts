/** The turns of the user: a line each, or several lines between triple quotes. */

import { InputError } from '../errors.ts';
import { type Line, LineEditor, type NoLine } from './line-editor.ts';
import { longestTokenBytes, promptParts } from './read-text.ts';

const quotes = '"""';

export interface Said {
  readonly text: string;
  /** A text between quotes is never a command. */
  readonly quoted: boolean;
}

export interface ChatInput {
  /** Whether somebody sits at a terminal. */
  readonly interactive: boolean;
  /** The next turn, which is not empty, or why there is none. */
  next(): Promise<Said | NoLine>;
  /** Discards what was typed ahead at a terminal. */
  drop(): void;
}

/** Reads the next line; `prompt` is shown at a terminal. */
type ReadLine = (prompt: string) => Promise<Line>;

/**
 * Turns from the terminal, or from piped input.
 * @param context the most positions of a turn
 */
export function chatInput(context: number): ChatInput {
  if (LineEditor.isPossible) {
    const editor = new LineEditor();
    return {
      interactive: true,
      next: () => nextSaid((prompt) => editor.read(prompt)),
      drop: () => editor.drop(),
    };
  }
  const lines = linesOf(promptParts(process.stdin, Number.POSITIVE_INFINITY), context);
  const read = async (): Promise<Line> => {
    const { done, value } = await lines.next();
    return done ? 'end' : { text: value };
  };
  return { interactive: false, next: () => nextSaid(read), drop() {} };
}

async function nextSaid(read: ReadLine): Promise<Said | NoLine> {
  for (;;) {
    const line = await read('> ');
    if (typeof line === 'string') return line;
    const text = line.text.trim();
    if (text.startsWith(quotes)) {
      const quoted = await quotedText(text.slice(quotes.length), read);
      if (typeof quoted === 'string') return quoted;
      if (quoted.text.trim() !== '') return quoted;
    } else if (text !== '') {
      return { text, quoted: false };
    }
  }
}

/** The lines up to the closing quotes, or up to the end of the input. */
async function quotedText(first: string, read: ReadLine): Promise<Said | NoLine> {
  const lines: string[] = [];
  for (let line: Line = { text: first }; ; line = await read('. ')) {
    if (line === 'interrupted') return line;
    if (line === 'end') break;
    const closes = line.text.trimEnd().endsWith(quotes);
    lines.push(closes ? line.text.trimEnd().slice(0, -quotes.length) : line.text);
    if (closes) break;
  }
  // Quotes on lines of their own add no empty line.
  if (lines[0] === '') lines.shift();
  if (lines.at(-1) === '') lines.pop();
  return { text: lines.join('\n'), quoted: true };
}

/** The lines of a text that comes in parts. @throws InputError when one is too long for the context */
async function* linesOf(
  parts: AsyncIterable<string>,
  context: number,
): AsyncGenerator<string, undefined> {
  const longest = context * longestTokenBytes;
  let rest = '';
  for await (const part of parts) {
    const lines = (rest + part).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) yield line.replace(/\r$/, '');
    if (rest.length > longest) {
      const message = `a line is longer than ${longest} characters, too long for the context`;
      throw new InputError(message, { file: 'stdin' });
    }
  }
  if (rest !== '') yield rest;
  return undefined;
}
