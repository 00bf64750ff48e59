/**
 * How deep JSON is nested, found before anybody who calls himself for each level gets to see it: what
 * checks, compares or writes a parsed value would exhaust the stack.
 */

/** Levels of arrays and objects. Files of models have ten or so. */
export const deepestJson = 200;

const quote = 0x22;
const backslash = 0x5c;

/**
 * Where in `text`, in UTF-16 units, more than {@link deepestJson} brackets are open, or -1. The text
 * need not be valid; a few milliseconds for ten megabytes.
 */
export function tooDeepAt(text: string): number {
  let depth = 0;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === quote) {
      at = closingQuote(text, at);
      if (at === -1) return -1; // a string without an end, which the parser names
      // '[' and ']', '{' and '}' differ from each other in this bit, and from nothing else.
    } else if ((code | 0x20) === 0x7b) {
      if (++depth > deepestJson) return at;
    } else if ((code | 0x20) === 0x7d) {
      depth--;
    }
  }
  return -1;
}

function closingQuote(text: string, open: number): number {
  for (let at = text.indexOf('"', open + 1); at !== -1; at = text.indexOf('"', at + 1)) {
    let escapes = 0;
    while (text.charCodeAt(at - 1 - escapes) === backslash) escapes++;
    if (escapes % 2 === 0) return at;
  }
  return -1;
}
