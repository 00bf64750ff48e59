/** Values from files that were made to do harm, or were written by a broken program. */

/** Numbers as a JSON file may write them: at the limits of types, beyond them, and not numbers at all. */
export const hostileNumbers: readonly string[] = [
  ...['0', '-0', '1', '-1', '2', '3', '7', '64', '0.5', '-0.5', '1.5', '1e-320', '1e20', '1e308'],
  ...['255', '256', '-128', '32768', '65535', '65536', '16777216', '268435456'],
  ...['2147483647', '2147483648', '-2147483648', '4294967295', '4294967296', '1099511627776'],
  ...['9007199254740991', '9007199254740993', '9223372036854775807', '18446744073709551615'],
  ...['1e999', '-1e999', 'NaN', 'Infinity', '-Infinity', `1${'0'.repeat(400)}`],
];

/** Integers for fields of binary files, which truncate them to their width. */
export const hostileIntegers: readonly bigint[] = [
  ...[0n, 1n, 2n, 3n, 7n, 8n, 31n, 33n, 64n, 127n, 128n, 255n, 256n, 4095n, 65535n, 65536n],
  ...[-1n, -2n, -8n, 0x7fffffffn, 0x80000000n, 0xffffffffn, 0x100000000n, 1n << 40n],
  ...[(1n << 53n) - 1n, 1n << 53n, (1n << 63n) - 1n, 1n << 63n, (1n << 64n) - 8n],
];

/** Names that plain objects inherit. */
const inherited = [
  '__proto__',
  'constructor',
  'toString',
  'hasOwnProperty',
  'valueOf',
  '__defineGetter__',
];
/** Characters that control a terminal. */
const escapes = [
  ...[
    '\u001b]0;title\u0007',
    '\u001b[2J\u001b[31m',
    '\u009b31m',
    '\u0090q\u009c',
    '\u0000',
    '\u007f',
  ],
  ...['\r\n', '\u0008\u0008', '\u202egnp.exe', '\u2066x\u2069', '\u2028'],
];
const paths = [
  ...['../../../../etc/passwd', '/etc/passwd', '/dev/zero', '.', '..', '', 'a/b', 'C:\\Windows'],
  ...['config.json', 'flash.json', 'model.safetensors', '~', 'aux', 'name\u0000.txt'],
];
const longTexts = [
  'x'.repeat(300),
  '\u001b[7m'.repeat(500),
  'é💥'.repeat(700),
  'a'.repeat(200_000),
];
const oddTexts = [
  ' ',
  '\ufeff',
  '\ud800',
  '%s%n',
  '<|endoftext|>',
  '</s>',
  '\u2581',
  '0',
  '-1',
  'null',
];

export const hostileTexts: readonly string[] = [
  ...inherited,
  ...escapes,
  ...paths,
  ...oddTexts,
  ...longTexts,
];

/** Texts that are short enough where the length is limited. */
export const shortHostileTexts = hostileTexts.filter(({ length }) => length < 400);

const deep = 20_000;

/** Whole JSON values that are costly or strange. */
export const hostileJson: readonly string[] = [
  ...['null', 'true', 'false', '[]', '{}', '[[]]', '[null]', '[0]', '{"": 0}', '""'],
  '['.repeat(deep) + ']'.repeat(deep),
  `${'{"a":'.repeat(deep)}0${'}'.repeat(deep)}`,
  `[${'0,'.repeat(50_000)}0]`,
  `{${Array.from({ length: 5_000 }, (_, i) => `"${i}":${i}`).join(',')}}`,
  ...['nul', '{', '"', '[,]', '{"a" 1}', "'a'", '01', '/**/1'],
];
