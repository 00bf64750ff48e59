/** Named sets of characters of Oniguruma's regular expressions, in the syntax of the `v` flag. */

import { complement, unassigned } from '../unicode.ts';

/** Restricts a set to the Unicode version that Oniguruma knows. */
function known(set: string): string {
  return `[${set}--${unassigned}]`;
}

const word = known('[\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}]');
/** Superscripts and fractions of Latin-1 are word characters outside brackets, but not inside. */
const wordOutside = `[${word}\\u00b2\\u00b3\\u00b9\\u00bc-\\u00be]`;
const unassignedOrNot = (set: string) => `[${set}${unassigned}]`;
const visible = known(complement('[\\p{White_Space}\\p{Cc}\\p{Cn}\\p{Cs}]'));

/** The shorthands `\w`, `\d`, `\s`, `\h`; their capitals are the complements. */
export const shorthands: ReadonlyMap<string, string> = new Map([
  ['w', wordOutside],
  ['d', known('\\p{Nd}')],
  ['s', '\\p{White_Space}'],
  ['h', '[0-9A-Fa-f]'],
]);

/** The same within brackets. */
export const classShorthands: ReadonlyMap<string, string> = new Map([...shorthands, ['w', word]]);

/** The names of brackets, `[:alpha:]`. */
export const bracketNames: ReadonlyMap<string, string> = new Map([
  ['alnum', known('[\\p{Alphabetic}\\p{Nd}]')],
  ['alpha', known('\\p{Alphabetic}')],
  ['ascii', '\\p{ASCII}'],
  ['blank', '[\\p{Zs}\\t]'],
  ['cntrl', '\\p{Cc}'],
  ['digit', known('\\p{Nd}')],
  ['graph', visible],
  ['lower', known('[\\p{Lowercase}\\u0295]')],
  ['print', `[${visible}\\p{Zs}]`],
  ['punct', known('[\\p{P}\\p{S}]')],
  ['space', '\\p{White_Space}'],
  ['upper', known('\\p{Uppercase}')],
  ['word', word],
  ['xdigit', '[0-9A-Fa-f]'],
]);

/** General categories by their short names, and the long names that are in use. */
const categories: ReadonlyMap<string, string> = new Map(
  'L Lu Ll Lt Lm Lo M Mn Mc Me N Nd Nl No P Pc Pd Ps Pe Pi Pf Po S Sm Sc Sk So Z Zs Zl Zp C Cc Cf Cn Co Cs'
    .split(' ')
    .map((name) => [name.toLowerCase(), name]),
);
const longCategories: ReadonlyMap<string, string> = new Map([
  ['letter', 'L'],
  ['uppercaseletter', 'Lu'],
  ['lowercaseletter', 'Ll'],
  ['titlecaseletter', 'Lt'],
  ['modifierletter', 'Lm'],
  ['otherletter', 'Lo'],
  ['mark', 'M'],
  ['nonspacingmark', 'Mn'],
  ['spacingmark', 'Mc'],
  ['enclosingmark', 'Me'],
  ['number', 'N'],
  ['decimalnumber', 'Nd'],
  ['letternumber', 'Nl'],
  ['othernumber', 'No'],
  ['punctuation', 'P'],
  ['symbol', 'S'],
  ['separator', 'Z'],
  ['control', 'Cc'],
  ['other', 'C'],
]);

/** Sets that are neither a category nor a script. */
const others: ReadonlyMap<string, string> = new Map([
  ...[...bracketNames].filter(([name]) => name !== 'punct' && name !== 'word'),
  ['any', '\\p{Any}'],
  ['punct', known('\\p{P}')],
  ['word', wordOutside],
  ['alphabetic', known('\\p{Alphabetic}')],
  ['whitespace', '\\p{White_Space}'],
  ['uppercase', known('\\p{Uppercase}')],
  ['lowercase', known('[\\p{Lowercase}\\u0295]')],
  ['emoji', known('\\p{Emoji}')],
]);

/** Scripts whose names are in use in pre-tokenizers. */
const scripts: ReadonlyMap<string, string> = new Map(
  (
    'Arabic Armenian Bengali Bopomofo Cyrillic Devanagari Ethiopic Georgian Greek Gujarati Gurmukhi Han ' +
    'Hangul Hebrew Hiragana Kannada Katakana Khmer Lao Latin Malayalam Mongolian Myanmar Oriya Sinhala ' +
    'Tamil Telugu Thai Tibetan Common Inherited'
  )
    .split(' ')
    .map((name) => [name.toLowerCase(), name]),
);

/**
 * The set that `\p{name}` stands for; undefined for an unknown name. As in Oniguruma, case, spaces, hyphens
 * and underscores in names are ignored.
 */
export function propertySet(name: string): string | undefined {
  const key = name.toLowerCase().replace(/[\s_-]/g, '');
  const other = others.get(key);
  if (other !== undefined) return other;
  const script = scripts.get(key);
  if (script !== undefined) return known(`\\p{Script=${script}}`);
  const category = categories.get(key) ?? longCategories.get(key);
  if (category === undefined) return undefined;
  if (category === 'C' || category === 'Cn') return unassignedOrNot(`\\p{${category}}`);
  // A letter without case that was lower case before Unicode 17.
  if (category === 'Ll') return known('[\\p{Ll}\\u0295]');
  if (category === 'Lo') return `[${known('\\p{Lo}')}--\\u0295]`;
  return known(`\\p{${category}}`);
}

/** Sets that contain both cases of each letter, so that ignoring case adds nothing. */
const caseless: ReadonlySet<string> = new Set([
  'd',
  's',
  'n',
  'nd',
  'no',
  'number',
  'decimalnumber',
  'p',
  'punctuation',
  'punct',
  'digit',
  'space',
  'whitespace',
  'blank',
  'cntrl',
  'z',
  'zs',
]);

export function isCaseless(name: string): boolean {
  return caseless.has(name.toLowerCase().replace(/[\s_-]/g, ''));
}
