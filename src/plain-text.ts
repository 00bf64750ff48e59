/**
 * Text from files, made harmless to show. Nothing that a terminal would act on is left in it: what
 * would is written out, as `\x1b`. Each character is judged by itself, so that a sequence which is cut
 * anywhere, even between two tokens, is found all the same.
 */

/**
 * What may act on a terminal wherever it stands: C0 but tab and newline, DEL, C1 (U+009B is an escape
 * sequence's beginning in one character).
 */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what this is about
const acting = /[\0-\x08\x0b-\x1f\x7f-\x9f]/g;

/**
 * What, besides, may not be in a line that names something: it would end the line, or show what
 * follows in another order (line and paragraph separators, marks, embeddings, overrides and isolates
 * of writing direction), or be a half of a character.
 */
const lineBreaking =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what this is about
  /[\0-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]|\p{Surrogate}/gu;

/** Those that have a usual short form. */
const shortForms: Readonly<Record<string, string>> = { '\n': '\\n', '\t': '\\t', '\r': '\\r' };

function writtenOut(character: string): string {
  const code = character.charCodeAt(0);
  const short = shortForms[character];
  if (short !== undefined) return short;
  const digits = code.toString(16);
  return code < 0x100 ? `\\x${digits.padStart(2, '0')}` : `\\u${digits.padStart(4, '0')}`;
}

/**
 * Text of several lines as it may be shown: tabs and newlines are kept, and what a carriage return
 * would overwrite is not.
 */
export function harmless(text: string): string {
  return text.replace(acting, (character) => (character === '\r' ? '' : writtenOut(character)));
}

/** The same for what shall stay in one line. */
export function oneLine(text: string): string {
  return text.replace(lineBreaking, writtenOut);
}

/** `text` of at most `longest` characters: what is too long is cut in the middle, as `begin…end`. */
export function cutMiddle(text: string, longest: number): string {
  if (text.length <= longest) return text;
  const kept = Math.max(0, longest - 1);
  let head = Math.ceil(kept / 2);
  let tail = text.length - Math.floor(kept / 2);
  // Not between the two halves of a character.
  if (isHighSurrogate(text, head - 1)) head--;
  if (isHighSurrogate(text, tail - 1)) tail++;
  return `${text.slice(0, head)}…${text.slice(tail)}`;
}

function isHighSurrogate(text: string, at: number): boolean {
  const code = text.charCodeAt(at);
  return code >= 0xd800 && code < 0xdc00;
}

/** A name or a value in a message: one line, at most `longest` characters. */
export function shown(text: string, longest: number): string {
  // Cut first: what is written out is longer, and what is cut need not be.
  return cutMiddle(oneLine(cutMiddle(text, longest)), longest);
}

/** The first few of `names` as a message lists them, and how many more there are. */
export function some(names: readonly string[]): string {
  const more = names.length > 3 ? ` and ${names.length - 3} more` : '';
  return `${names.slice(0, 3).join(', ')}${more}`;
}

/** JSON that a terminal does not act on; its values are the same. */
export function harmlessJson(json: string): string {
  return json.replace(unescaped, (character) => {
    return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
  });
}

/** What `JSON.stringify` leaves as it is, although it would act on a terminal or on a line. */
const unescaped = /[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;
