/**
 * Methods of Python strings that templates call. The Jinja interpreter has some of them; this file has those
 * that it lacks, that differ from Python's, or whose results may exceed the memory.
 */

import type { TemplateValue } from '@huggingface/jinja';
import { checkSize } from './template-size.ts';
import { argumentsOf, itemsOf, listValue, textOf, toTemplateValue } from './template-values.ts';

export type TextMethod = (text: string, args: readonly TemplateValue[]) => TemplateValue;

/**
 * Characters for which `str.isspace` is true; JavaScript's blanks differ in U+FEFF and some control
 * characters.
 */
const blanks: ReadonlySet<string> = new Set(
  '\t\n\v\f\r\x1c\x1d\x1e\x1f \x85\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000',
);

/** `text` without characters of a set (blanks by default) at its beginning, its end, or both. */
export function strip(
  text: string,
  characters: ReadonlySet<string> = blanks,
  sides: 'both' | 'left' | 'right' = 'both',
): string {
  // By code points, so that no surrogate pair is split.
  const all = [...text];
  let start = 0;
  let end = all.length;
  while (sides !== 'right' && start < end && characters.has(all[start] ?? '')) start++;
  while (sides !== 'left' && end > start && characters.has(all[end - 1] ?? '')) end--;
  return all.slice(start, end).join('');
}

/** The text argument at `index`, or with that name. */
function textArgument(
  args: readonly TemplateValue[],
  index: number,
  name: string,
): string | undefined {
  const { positional, named } = argumentsOf(args);
  return textOf(positional[index] ?? named.get(name));
}

function countArgument(args: readonly TemplateValue[], index: number, name: string): number {
  const { positional, named } = argumentsOf(args);
  const value = (positional[index] ?? named.get(name))?.value;
  return typeof value === 'number' && value >= 0 ? value : Number.POSITIVE_INFINITY;
}

function needed(text: string | undefined, method: string): string {
  if (text === undefined) throw new TypeError(`${method}() needs a string`);
  return text;
}

const stripper =
  (sides: 'both' | 'left' | 'right'): TextMethod =>
  (text, args) => {
    const characters = textArgument(args, 0, 'chars');
    const set = characters === undefined ? undefined : new Set(characters);
    return toTemplateValue(strip(text, set, sides));
  };

/** Words between blanks, with at most `most` splits from the left. */
function words(text: string, most: number): string[] {
  const found: string[] = [];
  let rest = strip(text, blanks, 'left');
  while (rest !== '') {
    let end = 0;
    while (end < rest.length && !blanks.has(rest[end] ?? '')) end++;
    if (found.length >= most) return [...found, rest];
    found.push(rest.slice(0, end));
    rest = strip(rest.slice(end), blanks, 'left');
  }
  return found;
}

function split(text: string, separator: string | undefined, most: number): string[] {
  if (separator === undefined) return words(text, most);
  if (separator === '') throw new TypeError('split() has an empty separator');
  const parts = text.split(separator);
  if (parts.length <= most + 1) return parts;
  return [...parts.slice(0, most), parts.slice(most).join(separator)];
}

function splitFromRight(text: string, separator: string | undefined, most: number): string[] {
  const mirrored = (part: string) => [...part].reverse().join('');
  const sep = separator === undefined ? undefined : mirrored(separator);
  return split(mirrored(text), sep, most).map(mirrored).reverse();
}

const splitter =
  (cut: typeof split): TextMethod =>
  (text, args) => {
    // Each part takes as much memory as many characters within a text.
    checkSize(text.length * 16);
    const parts = cut(text, textArgument(args, 0, 'sep'), countArgument(args, 1, 'maxsplit'));
    return listValue(parts.map(toTemplateValue));
  };

function replace(text: string, args: readonly TemplateValue[]): TemplateValue {
  const from = needed(textArgument(args, 0, 'old'), 'replace');
  const to = needed(textArgument(args, 1, 'new'), 'replace');
  const most = countArgument(args, 2, 'count');
  const found = Math.min(most, occurrences(text, from));
  checkSize(text.length + found * (to.length - from.length));
  if (found === 0) return toTemplateValue(text);
  // An empty text occurs before each character, and at the end.
  const parts = from === '' ? ['', ...text] : text.split(from);
  const head = parts.slice(0, found + 1).join(to);
  const rest = parts.slice(found + 1);
  if (from === '')
    return toTemplateValue(head + (rest.length > 0 ? rest.join('') : endOf(text, found, to)));
  return toTemplateValue([head, ...rest].join(from));
}

/** The text that replacing an empty text adds after the last character. */
function endOf(text: string, found: number, to: string): string {
  return found > [...text].length ? to : '';
}

function occurrences(text: string, part: string): number {
  if (part === '') return [...text].length + 1;
  let count = 0;
  for (let at = text.indexOf(part); at >= 0; at = text.indexOf(part, at + part.length)) count++;
  return count;
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: Python's ends of lines are some of them
const lineEnds = /\r\n|[\n\v\f\r\x1c-\x1e\x85\u2028\u2029]/;

function splitlines(text: string): TemplateValue {
  checkSize(text.length * 16);
  const lines = text.split(lineEnds);
  if (lines.at(-1) === '') lines.pop();
  return listValue(lines.map(toTemplateValue));
}

function capitalize(text: string): TemplateValue {
  const [first = '', ...rest] = text;
  return toTemplateValue(first.toUpperCase() + rest.join('').toLowerCase());
}

function join(separator: string, [list]: readonly TemplateValue[]): TemplateValue {
  const items = list === undefined ? undefined : itemsOf(list);
  if (items === undefined) throw new TypeError('join() needs a list');
  const texts = items.map((item) => needed(textOf(item), 'join'));
  checkSize(texts.reduce((sum, text) => sum + text.length + separator.length, 0));
  return toTemplateValue(texts.join(separator));
}

/** The methods by name. */
export const textMethods: ReadonlyMap<string, TextMethod> = new Map<string, TextMethod>([
  ['strip', stripper('both')],
  ['lstrip', stripper('left')],
  ['rstrip', stripper('right')],
  ['split', splitter(split)],
  ['rsplit', splitter(splitFromRight)],
  ['splitlines', splitlines],
  ['replace', replace],
  ['capitalize', capitalize],
  ['join', join],
  [
    'removeprefix',
    (text, args) => {
      const part = needed(textArgument(args, 0, 'prefix'), 'removeprefix');
      return toTemplateValue(text.startsWith(part) ? text.slice(part.length) : text);
    },
  ],
  [
    'removesuffix',
    (text, args) => {
      const part = needed(textArgument(args, 0, 'suffix'), 'removesuffix');
      const ends = part !== '' && text.endsWith(part);
      return toTemplateValue(ends ? text.slice(0, -part.length) : text);
    },
  ],
  [
    'find',
    (text, args) => {
      const at = text.indexOf(needed(textArgument(args, 0, 'sub'), 'find'));
      // Python counts code points.
      return toTemplateValue(at < 0 ? -1 : [...text.slice(0, at)].length);
    },
  ],
  [
    'count',
    (text, args) =>
      toTemplateValue(occurrences(text, needed(textArgument(args, 0, 'sub'), 'count'))),
  ],
  ['isdigit', (text) => toTemplateValue(/^\p{Nd}+$/u.test(text))],
]);
