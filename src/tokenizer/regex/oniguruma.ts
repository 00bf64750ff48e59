/**
 * Translates regular expressions of tokenizer.json to JavaScript. They are written for Oniguruma, in Ruby's
 * dialect, which looks similar but differs in the meaning of `\s`, `\w`, `^`, `$` and `.`, in
 * case-insensitive matching, possessive quantifiers and nested classes. Each construct is translated to the
 * same meaning or refused by name; nothing is copied without being parsed.
 *
 *     alternatives = sequence { "|" sequence }
 *     sequence     = { atom { quantifier } }
 */

import { blanks, complement } from '../unicode.ts';
import { characterClass, escapedSet } from './character-class.ts';
import { shorthands } from './properties.ts';
import { caseVariants, escapedCharacter, literal, Scan, Untranslatable } from './scan.ts';

/** The options within a group. */
interface Options {
  readonly ignoreCase: boolean;
  /** Whether `.` matches a newline. */
  readonly dotAll: boolean;
  readonly lookbehind: boolean;
}

/** A translated part. */
interface Node {
  readonly source: string;
  /** Whether it may match nothing. */
  readonly empty: boolean;
}

/** Characters that equal several letters if case is ignored: ß is also ss. */
const joined = /ss|st|ff|fi|fl/i;

// Without the flag `m`, these are the ends of the text.
const start = '^';
const end = '$';
const anything = '\\p{Any}';
const word = shorthands.get('w') ?? '';
const boundary = `(?:(?<=${word})(?!${word})|(?<!${word})(?=${word}))`;
const noBoundary = `(?:(?<=${word})(?=${word})|(?<!${word})(?!${word}))`;

const anchors: ReadonlyMap<string, string> = new Map([
  ['A', start],
  ['z', end],
  ['Z', `(?=\\n?${end})`],
  ['b', boundary],
  ['B', noBoundary],
]);

export interface Translated {
  /** With the flags `g` and `v`. */
  readonly expression: RegExp;
  /** Whether it may match nothing. */
  readonly empty: boolean;
}

/**
 * A JavaScript regular expression that matches the same texts as in Oniguruma.
 * @throws Untranslatable for constructs without an equivalent.
 */
export function translate(pattern: string): Translated {
  const { source, empty } = new Translation(pattern).whole();
  try {
    return { expression: new RegExp(source, 'gv'), empty };
  } catch (error) {
    throw new Untranslatable(error instanceof Error ? error.message : String(error));
  }
}

class Translation {
  readonly #scan: Scan;
  /** The number of capturing groups, which are used only to emulate atomic groups. */
  #captures = 0;

  constructor(pattern: string) {
    this.#scan = new Scan(pattern);
  }

  whole(): Node {
    const node = this.#alternatives({ ignoreCase: false, dotAll: false, lookbehind: false });
    if (!this.#scan.done) throw new Untranslatable('a ")" without its "("');
    return node;
  }

  #alternatives(given: Options): Node {
    const options = this.#leadingOptions(given);
    const nodes = [this.#sequence(options)];
    while (this.#scan.accept('|')) nodes.push(this.#sequence(options));
    return {
      source: nodes.map(({ source }) => source).join('|'),
      empty: nodes.some(({ empty }) => empty),
    };
  }

  /** `(?i)` at the beginning of a group applies to the whole group. */
  #leadingOptions(given: Options): Options {
    const letters = this.#scan.match(/\(\?([a-zA-Z-]+)\)/);
    return letters === undefined ? given : changed(given, letters);
  }

  #sequence(options: Options): Node {
    let source = '';
    let empty = true;
    /** Consecutive letters, if case is ignored. */
    let run = '';
    while (!this.#scan.done && this.#scan.next !== '|' && this.#scan.next !== ')') {
      if (this.#scan.match(/\(\?#[^)]*\)/) !== undefined) continue;
      const letter = this.#scan.next;
      run = /^[a-z]$/i.test(letter) ? run + letter : '';
      if (options.ignoreCase && joined.test(run)) {
        throw new Untranslatable(`"${run}" where case is ignored: one letter may stand for it`);
      }
      const node = this.#quantified(this.#atom(options), options);
      source += node.source;
      empty &&= node.empty;
    }
    return { source, empty };
  }

  #atom(options: Options): Node {
    const scan = this.#scan;
    const character = scan.take();
    const one = (source: string): Node => ({ source, empty: false });
    const between = (source: string): Node => ({ source, empty: true });
    switch (character) {
      case '(':
        return this.#group(options);
      case '[':
        return one(characterClass(scan, options.ignoreCase));
      case '.':
        return one(options.dotAll ? anything : complement('\\n'));
      case '^':
        return between(`(?:${start}|(?<=\\n)(?=${anything}))`);
      case '$':
        return between(`(?:(?=\\n)|${end})`);
      case '\\':
        return this.#escape(options);
      case '*':
      case '+':
      case '?':
        throw new Untranslatable(`a "${character}" that repeats nothing`);
      default:
        return one(letterOf(character, options));
    }
  }

  #escape(options: Options): Node {
    const scan = this.#scan;
    const anchor = anchors.get(scan.next);
    if (anchor !== undefined) {
      scan.take();
      return { source: anchor, empty: true };
    }
    const set = escapedSet(scan, options.ignoreCase);
    if (set !== undefined) {
      // Outside a class, a property needs no brackets.
      return { source: set.startsWith('[') ? set : `[${set}]`, empty: false };
    }
    const character = escapedCharacter(scan);
    if (character === undefined) throw new Untranslatable(`\\${scan.next}`);
    return { source: letterOf(character, options), empty: false };
  }

  /** A group whose opening parenthesis has been consumed. */
  #group(options: Options): Node {
    const scan = this.#scan;
    if (scan.accept('?>')) return this.#atomic(this.#inside(options), options);
    for (const look of ['?=', '?!', '?<=', '?<!']) {
      if (!scan.accept(look)) continue;
      const inside = this.#inside({ ...options, lookbehind: look.includes('<') });
      return { source: `(${look}${inside.source})`, empty: true };
    }
    const letters = scan.match(/\?([a-zA-Z-]*):/);
    const named = letters === undefined && scan.match(/\?<[A-Za-z_][A-Za-z0-9_]*>/) !== undefined;
    if (letters === undefined && !named && scan.next === '?') {
      throw new Untranslatable(`the group (${scan.match(/\?[^)]{0,8}/) ?? '?'}`);
    }
    const inside = this.#inside(letters ? changed(options, letters) : options);
    return { source: `(?:${inside.source})`, empty: inside.empty };
  }

  /** The content of a group, up to its ")". */
  #inside(options: Options): Node {
    const node = this.#alternatives(options);
    if (!this.#scan.accept(')')) throw new Untranslatable('a "(" without its ")"');
    return node;
  }

  /** An atomic group: a lookahead matches the content, then a back-reference consumes the match. */
  #atomic({ source, empty }: Node, { lookbehind }: Options): Node {
    if (lookbehind) throw new Untranslatable('an atomic group or possessive repetition behind (?<');
    // Inner groups already have their numbers, but groups are numbered from the left.
    if (/\((?!\?)/.test(source)) throw new Untranslatable('an atomic group within another');
    this.#captures++;
    return { source: `(?:(?=(${source}))\\${this.#captures})`, empty };
  }

  #quantified(atom: Node, options: Options): Node {
    let node = atom;
    for (;;) {
      const quantifier = this.#scan.match(/[*+?]|\{\d+,?\d*\}|\{,\d+\}/);
      if (quantifier === undefined) return node;
      node = this.#repeated(node, quantifier, options);
    }
  }

  #repeated(node: Node, quantifier: string, options: Options): Node {
    const [least, most] = bounds(quantifier);
    if (most > 1 && node.empty) {
      throw new Untranslatable('the repetition of what may match nothing');
    }
    const exact = /^\{\d+\}$/.test(quantifier);
    const braced = quantifier.startsWith('{');
    // After braces, "+" repeats once more; after an exact number, "?" makes it optional.
    const possessive = !braced && this.#scan.accept('+');
    const lazy = !exact && this.#scan.accept('?') ? '?' : '';
    const written = quantifier.startsWith('{,') ? `{0${quantifier.slice(1)}` : quantifier;
    const empty = node.empty || least === 0;
    const repeated = `(?:${node.source})${written}${lazy}`;
    // In JavaScript an empty match does not count as a repetition of an optional atom, so use an
    // alternative.
    const optional = lazy === '' ? `(?:${node.source}|)` : `(?:|${node.source})`;
    const source = node.empty && least === 0 ? optional : repeated;
    if (possessive && lazy !== '') throw new Untranslatable(`"${quantifier}+?"`);
    if (possessive) return this.#atomic({ source, empty }, options);
    return { source: `(?:${source})`, empty };
  }
}

/** The minimum and maximum number of repetitions. */
function bounds(quantifier: string): readonly [least: number, most: number] {
  if (quantifier === '*') return [0, Number.POSITIVE_INFINITY];
  if (quantifier === '+') return [1, Number.POSITIVE_INFINITY];
  if (quantifier === '?') return [0, 1];
  const [first = '', second = first] = quantifier.slice(1, -1).split(',');
  const least = Number(first);
  const most = second === '' ? Number.POSITIVE_INFINITY : Number(second);
  if (least > most) throw new Untranslatable(`the repetition ${quantifier}`);
  return [least, most];
}

/** Options after `(?`: letters to switch on and, after a hyphen, letters to switch off. */
function changed(given: Options, letters: string): Options {
  if (!/^[im]*(-[im]+)?$/.test(letters)) throw new Untranslatable(`the options (?${letters}`);
  const [on = '', off = ''] = letters.split('-');
  const state = (letter: string, now: boolean) =>
    on.includes(letter) || (now && !off.includes(letter));
  return {
    ...given,
    ignoreCase: state('i', given.ignoreCase),
    dotAll: state('m', given.dotAll),
  };
}

function letterOf(character: string, { ignoreCase }: Options): string {
  if (!ignoreCase) return literal(character);
  const variants = caseVariants(character);
  if (variants.length > 1) return `[${variants.map(literal).join('')}]`;
  if (
    (character.codePointAt(0) as number) > 0x7f &&
    !new RegExp(`^[\\p{P}\\p{N}${blanks}]$`, 'v').test(character)
  ) {
    throw new Untranslatable('a letter beyond ASCII where case is ignored');
  }
  return literal(character);
}
