/**
 * Makes text from files safe to display. Characters that a terminal would interpret are written out, for
 * example as `\x1b`. Each character is checked by itself, so an escape sequence is found even if it is cut
 * anywhere, for example between two tokens.
 */

/**
 * Characters that a terminal may interpret anywhere in a text: C0 except tab and newline, DEL, C1 (U+009B
 * alone begins an escape sequence).
 */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what this is about
const acting = /[\0-\x08\x0b-\x1f\x7f-\x9f]/g;

/**
 * Further characters that may not be in a line that names something: they would end the line, display what
 * follows in another order (line and paragraph separators, marks, embeddings, overrides and isolates of
 * writing direction), or are half of a surrogate pair.
 */
const lineBreaking =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what this is about
  /[\0-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]|\p{Surrogate}/gu;

/** The characters that have a usual short form. */
const shortForms: Readonly<Record<string, string>> = { '\n': '\\n', '\t': '\\t', '\r': '\\r' };

function writtenOut(character: string): string {
  const code = character.charCodeAt(0);
  const short = shortForms[character];
  if (short !== undefined) return short;
  const digits = code.toString(16);
  return code < 0x100 ? `\\x${digits.padStart(2, '0')}` : `\\u${digits.padStart(4, '0')}`;
}

/**
 * Text of several lines, safe to display: tabs and newlines are kept; carriage returns, which would
 * overwrite text, are removed.
 */
export function harmless(text: string): string {
  return text.replace(acting, (character) => (character === '\r' ? '' : writtenOut(character)));
}

/** The same for text that must stay on one line. */
export function oneLine(text: string): string {
  return text.replace(lineBreaking, writtenOut);
}

/** `text` cut to at most `longest` characters: a longer text is cut in the middle, as `begin…end`. */
export function cutMiddle(text: string, longest: number): string {
  if (text.length <= longest) return text;
  const kept = Math.max(0, longest - 1);
  let head = Math.ceil(kept / 2);
  let tail = text.length - Math.floor(kept / 2);
  // Never cut a surrogate pair in two.
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
  // Cut first: escapes make the text longer, and the part that is cut need not be escaped.
  return cutMiddle(oneLine(cutMiddle(text, longest)), longest);
}

/** The first few of `names` as a message lists them, and how many more there are. */
export function some(names: readonly string[]): string {
  const more = names.length > 3 ? ` and ${names.length - 3} more` : '';
  return `${names.slice(0, 3).join(', ')}${more}`;
}

/** JSON without characters that a terminal would interpret; its values are unchanged. */
export function harmlessJson(json: string): string {
  return json.replace(unescaped, (character) => {
    return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
  });
}

/** Characters that `JSON.stringify` does not escape although they would affect a terminal or end a line. */
const unescaped = /[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;
