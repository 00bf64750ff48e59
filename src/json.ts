/**
 * JSON as Python writes it, with `NaN`, `Infinity` and `-Infinity` as numbers: configurations have them in
 * fields that nobody needs.
 */

/**
 * The value of a JSON text in which numbers need not be finite. Positions in errors are those in `text`.
 * @throws SyntaxError when the text is not JSON even with these numbers
 */
export function parseNonFiniteJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    const replaced = withoutNonFinite(text);
    if (replaced === undefined) throw error;
    const value: unknown = JSON.parse(replaced.text);
    return restoreNaN(value, replaced.nan);
  }
}

/** `Infinity` as a number that JSON can write, and as long, so that positions stay the same. */
const infinity = '1e999   ';

/**
 * `text` with every `NaN` and `Infinity` outside strings replaced by valid JSON; undefined when there is
 * none. `nan` is the string that stands for NaN; no other string in the text equals it.
 */
function withoutNonFinite(
  text: string,
): { readonly text: string; readonly nan: string } | undefined {
  const names = [...namesIn(text)];
  if (names.length === 0) return undefined;
  const nan = unusedCharacter(text);
  const parts: string[] = [];
  let copied = 0;
  for (const { at, name } of names) {
    parts.push(text.slice(copied, at), name === 'NaN' ? `"${nan}"` : infinity);
    copied = at + name.length;
  }
  return { text: parts.join('') + text.slice(copied), nan };
}

/** Every `NaN` and `Infinity` outside of strings. */
function* namesIn(text: string): Generator<{ readonly at: number; readonly name: string }> {
  for (let at = 0; at < text.length; at++) {
    const char = text[at];
    if (char === '"') at = endOfString(text, at) - 1;
    const name = char === 'N' ? 'NaN' : 'Infinity';
    if ((char === 'N' || char === 'I') && text.startsWith(name, at)) yield { at, name };
  }
}

/** A character of the private use area that does not occur in `text`, not even escaped. */
function unusedCharacter(text: string): string {
  const lower = text.toLowerCase();
  for (let code = 0xe000; code < 0xf900; code++) {
    const character = String.fromCharCode(code);
    if (!text.includes(character) && !lower.includes(`\\u${code.toString(16)}`)) return character;
  }
  throw new SyntaxError('the text has NaN and every character of the private use area');
}

/** Puts NaN where `value`, or anything within it, is the string `nan`. Walks without recursion. */
function restoreNaN(value: unknown, nan: string): unknown {
  const root = { value };
  const open: object[] = [root];
  for (let at = open.pop(); at !== undefined; at = open.pop()) {
    for (const [key, child] of Object.entries(at)) {
      if (child === nan) define(at, key, Number.NaN);
      else if (typeof child === 'object' && child !== null) open.push(child);
    }
  }
  return root.value;
}

/** Sets a property of any name, `__proto__` included. */
function define(target: object, key: string, value: unknown): void {
  Object.defineProperty(target, key, {
    value,
    writable: true,
    enumerable: true,
    configurable: true,
  });
}

/** Index just after the closing quote of the string whose opening quote is at `start`. */
export function endOfString(text: string, start: number): number {
  let at = start + 1;
  while (at < text.length && text[at] !== '"') at += text[at] === '\\' ? 2 : 1;
  return at + 1;
}

/**
 * A value as JSON, with NaN and the infinities written as Python writes them.
 * @param change maps each part of the value to what is written in its place
 */
export function toJson(
  value: unknown,
  change: (part: unknown) => unknown = (part) => part,
): string | undefined {
  return JSON.stringify(value, (_key, part: unknown) => {
    if (typeof part === 'bigint') return String(part);
    if (typeof part === 'number' && !Number.isFinite(part)) return String(part);
    return change(part);
  });
}
