/**
 * Finds JSON that is too deep or too large before it is parsed: checking, comparing or writing a very
 * deeply nested value would exhaust the stack, and a value takes up to thirty times the memory of its text.
 */

/** Levels of arrays and objects. Files of models have ten or so. */
export const deepestJson = 200;

/** Values in a text. A tokenizer of 900,000 tokens has 2.7 million. */
export const mostJsonValues = 2 ** 22;

/** A limit that is exceeded, and where in the text, in UTF-16 units. */
export interface JsonExcess {
  readonly at: number;
  /** The fault, in the words of a message about the file. */
  readonly what: string;
}

const quote = 0x22;
const comma = 0x2c;
const backslash = 0x5c;

/**
 * The first place in `text` with more than {@link deepestJson} brackets open, or more than
 * {@link mostJsonValues} values before it; null where there is none. The text need not be valid JSON. Takes
 * a few milliseconds for ten megabytes.
 * @param mostBrackets arrays and objects, each of which takes some twenty times the memory of its text
 */
export function jsonExcess(text: string, mostBrackets = mostJsonValues): JsonExcess | null {
  let depth = 0;
  let values = 0;
  let brackets = 0;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === quote) {
      at = closingQuote(text, at);
      if (at === -1) return null; // a string without an end, which the parser reports
      continue;
    }
    // '[' and ']', '{' and '}' differ from each other in this bit, and from nothing else.
    const opens = (code | 0x20) === 0x7b;
    if (opens && ++depth > deepestJson) {
      return { at, what: `is JSON nested more than ${deepestJson} levels deep` };
    }
    if ((code | 0x20) === 0x7d) depth--;
    if (opens && ++brackets > mostBrackets) {
      return { at, what: `is JSON of more than ${mostBrackets} arrays and objects` };
    }
    // A comma or a bracket precedes each value.
    if ((opens || code === comma) && ++values > mostJsonValues) {
      return { at, what: `is JSON of more than ${mostJsonValues} values` };
    }
  }
  return null;
}

function closingQuote(text: string, open: number): number {
  for (let at = text.indexOf('"', open + 1); at !== -1; at = text.indexOf('"', at + 1)) {
    let escapes = 0;
    while (text.charCodeAt(at - 1 - escapes) === backslash) escapes++;
    if (escapes % 2 === 0) return at;
  }
  return -1;
}
