/**
 * Patterns of an adapter's configuration: regular expressions of Python, which come from a file and
 * are matched against names of modules. They are translated where Python and JavaScript differ, and matched
 * under a time limit, since a malicious pattern can take forever.
 */

import { runInNewContext } from 'node:vm';
import { InputError } from '../../errors.ts';
import { brief } from '../json-file.ts';

/** The ways to match a pattern. All match from the beginning of the name. */
const uses = {
  /** Matches the whole name. */
  whole: (pattern: string) => `(?:${pattern})$`,
  /** Matches the whole name, or its end after a dot: keys of rank_pattern and alpha_pattern. */
  ending: (pattern: string) => `(?:.*\\.)?(?:${pattern})$`,
  /** Matches a part of the name, from dot to dot: modules_to_save. */
  part: (pattern: string) => `(?:(?:^|.*\\.)${pattern}(?:$|\\..*))`,
  /** Matches a part of the name that a layer number follows: layers_pattern. */
  numbered: (pattern: string) => `(?:(?:^|.*?\\.)${pattern}\\.(?<number>\\d+)\\.)`,
} as const;

export interface PatternMatch {
  /** The first of the patterns that matches. */
  readonly pattern: number;
  /** The layer number after a `numbered` pattern. */
  readonly number: number | null;
}

/** In characters; longer than any pattern that lists each module of a model. */
const longestPattern = 100_000;
/** The patterns of real adapters take a few milliseconds. */
const limitMs = 2000;

/**
 * The first of `patterns` that matches, for each of `names`; null where none does.
 * @param place the file and the field that they come from
 * @throws InputError when one of them cannot be used, or they take too long
 */
export function matchPatterns(
  use: keyof typeof uses,
  patterns: readonly string[],
  names: readonly string[],
  place: { readonly file: string; readonly field: string },
): readonly (PatternMatch | null)[] {
  const expressions = patterns.map((pattern) => {
    const translated = translate(pattern);
    if (translated !== null) {
      const { source, flags } = translated;
      const expression = `^${uses[use](source)}`;
      if (compiles(source, flags) && compiles(expression, flags)) return [expression, flags];
    }
    throw new InputError(
      `'${place.field}' has a regular expression that cannot be used: ${brief(pattern)}`,
      { file: place.file },
    );
  });
  if (expressions.length === 0) return names.map(() => null);
  try {
    const found: unknown = runInNewContext(
      `const compiled = expressions.map(([source, flags]) => new RegExp(source, flags));
      JSON.stringify(names.map((name) => {
        for (const [pattern, expression] of compiled.entries()) {
          const match = expression.exec(name);
          if (match) return { pattern, number: Number(match.groups?.number ?? NaN) };
        }
        return null;
      }));`,
      { names, expressions },
      { timeout: limitMs },
    );
    return JSON.parse(String(found)) as (PatternMatch | null)[];
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'ERR_SCRIPT_EXECUTION_TIMEOUT') throw cause;
    throw new InputError(
      `matching '${place.field}' with ${names.length} module names takes more than ${limitMs / 1000} s`,
      { file: place.file },
      'Write a simpler regular expression, or list the names',
    );
  }
}

function compiles(source: string, flags: string): boolean {
  try {
    new RegExp(source, flags);
    return true;
  } catch {
    return false;
  }
}

/**
 * Syntax that Python writes differently; syntax that JavaScript lacks is refused when the expression is
 * compiled.
 */
const differences: readonly (readonly [python: RegExp, javaScript: string])[] = [
  [/^\(\?P</, '(?<'],
  [/^\(\?P=(\w+)\)/, '\\k<$1>'],
  [/^\\A/, '^'],
  [/^\\[zZ]/, '$'],
  [/^\{,(\d+)\}/, '{0,$1}'],
];

/** The same expression for JavaScript; null if it has syntax that cannot be translated. */
function translate(pattern: string): { readonly source: string; readonly flags: string } | null {
  if (pattern.length > longestPattern) return null;
  // Flags of the whole expression; names have no line breaks, so that m and s change nothing.
  const [head = '', letters = ''] = /^\(\?([ims]+)\)/.exec(pattern) ?? [];
  let source = '';
  for (let at = head.length; at < pattern.length; ) {
    const rest = pattern.slice(at, at + 40);
    if (rest.startsWith('(?#')) return null;
    const found = differences.find(([python]) => python.test(rest));
    if (found !== undefined) {
      const [written = ''] = found[0].exec(rest) ?? [];
      source += written.replace(...found);
      at += written.length;
    } else if (rest.startsWith('\\')) {
      source += rest.slice(0, 2);
      at += 2;
    } else if (rest.startsWith('[')) {
      const end = endOfSet(pattern, at);
      source += setOf(pattern.slice(at, end));
      at = end;
    } else {
      source += rest[0];
      at += 1;
    }
  }
  return { source, flags: letters.includes('i') ? 'i' : '' };
}

/** Index just after the bracket that closes the character set at `start`. */
function endOfSet(pattern: string, start: number): number {
  let at = start + (pattern[start + 1] === '^' ? 2 : 1);
  // A bracket that comes first is one of the characters.
  if (pattern[at] === ']') at += 1;
  while (at < pattern.length && pattern[at] !== ']') at += pattern[at] === '\\' ? 2 : 1;
  return at + 1;
}

function setOf(set: string): string {
  return set.replace(/^\[(\^?)\]/, '[$1\\]');
}
