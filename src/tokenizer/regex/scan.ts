/** Reads a regular expression, character by character. */

/** Thrown for a construct that cannot be translated; the message names it. */
export class Untranslatable extends Error {}

/** A place in a pattern. */
export class Scan {
  at = 0;
  readonly #characters: readonly string[];

  constructor(pattern: string) {
    this.#characters = [...pattern];
  }

  get done(): boolean {
    return this.at >= this.#characters.length;
  }

  /** The next character, empty at the end. */
  get next(): string {
    return this.#characters[this.at] ?? '';
  }

  startsWith(text: string): boolean {
    return this.#characters.slice(this.at, this.at + text.length).join('') === text;
  }

  take(): string {
    const character = this.next;
    if (character === '') throw new Untranslatable('an unfinished pattern');
    this.at++;
    return character;
  }

  /** Moves past `text` if it comes next. */
  accept(text: string): boolean {
    if (!this.startsWith(text)) return false;
    this.at += text.length;
    return true;
  }

  /** Returns the match of a sticky expression without capturing groups here, and moves past it. */
  match(expression: RegExp): string | undefined {
    // No construct that is read this way is longer.
    const ahead = this.#characters.slice(this.at, this.at + 80).join('');
    const found = expression.exec(ahead);
    if (found === null || found.index !== 0) return undefined;
    this.at += [...found[0]].length;
    return found[1] ?? found[0];
  }
}

/** A character in the notation that is valid inside and outside classes of the `v` flag. */
export function literal(character: string): string {
  return /^[A-Za-z0-9 ]$/.test(character)
    ? character
    : `\\u{${(character.codePointAt(0) as number).toString(16)}}`;
}

/** The characters that equal an ASCII character when case is ignored, itself included. */
export function caseVariants(character: string): readonly string[] {
  if (!/^[A-Za-z]$/.test(character)) return [character];
  const small = character.toLowerCase();
  const more = { k: ['\u212a'], s: ['\u017f'] }[small] ?? [];
  return [small, small.toUpperCase(), ...more];
}

const simpleEscapes: Readonly<Record<string, string>> = {
  t: '\t',
  n: '\n',
  r: '\r',
  f: '\f',
  v: '\v',
  a: '\x07',
  e: '\x1b',
};

/**
 * The character that the escape after a backslash stands for; undefined if it represents none; then nothing
 * is consumed.
 */
export function escapedCharacter(scan: Scan): string | undefined {
  const letter = scan.next;
  if (Object.hasOwn(simpleEscapes, letter)) return simpleEscapes[scan.take()];
  const hex =
    scan.match(/x\{([0-9A-Fa-f]{1,6})\}/) ??
    scan.match(/x([0-7][0-9A-Fa-f])/) ??
    scan.match(/u([0-9A-Fa-f]{4})/);
  if (hex !== undefined) {
    const code = Number.parseInt(hex, 16);
    if (code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) {
      throw new Untranslatable(`the escape of ${hex}, which is no character`);
    }
    return String.fromCodePoint(code);
  }
  if (/^[A-Za-z0-9]$/.test(letter) || letter === '') return undefined;
  return scan.take();
}
