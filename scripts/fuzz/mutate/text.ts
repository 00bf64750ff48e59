/** Texts: lists of merges, prompts, text to learn from or to be judged by. */

import type { Dice } from '../../../test/support/random.ts';
import { hostileTexts } from '../hostile-values.ts';
import { type Mutation, short } from './mutation.ts';

/** What tokenizers, readers of documents and streams of UTF-8 stumble over. */
const passages: readonly Buffer[] = [
  ...[
    '\n<|endoftext|>\n',
    '<|endoftext|>',
    '\r\n<|endoftext|>\r\n<|endoftext|>',
    '\r',
    '\n\n\n',
    '\u2028',
  ],
  ...[
    '\u0000',
    '\ufeff',
    '\u0085',
    '\u00a0',
    'e\u0301',
    '\ud83d',
    '👩‍👩‍👧‍👦',
    '</s><s><unk>',
    '  \t  ',
  ],
  ...[
    ' '.repeat(3_000),
    'a'.repeat(3_000),
    '\n'.repeat(3_000),
    'жёлтый '.repeat(300),
    '漢字'.repeat(500),
  ],
  ...['👍'.repeat(300), '\u0300'.repeat(1_000), '('.repeat(1_000), '1'.repeat(2_000)],
  ...[
    'a b\n',
    '\u0120a \u0120b\n',
    '#version: 0.2\n',
    'a  b\n',
    'a b c\n',
    '\u001b[2J \u001b[2J\n',
  ],
]
  .map((text) => Buffer.from(text))
  .concat([
    Buffer.from([0xff, 0xfe]),
    Buffer.from([0xf0, 0x9f]),
    Buffer.alloc(100, 0x80),
    Buffer.from([0xc0, 0xaf]),
  ]);

type Change = (bytes: Buffer, dice: Dice) => Mutation;

const insert: Change = (bytes, dice) => {
  const passage = dice.chance(0.7)
    ? dice.pick(passages)
    : Buffer.from(dice.pick(hostileTexts).slice(0, 5_000));
  const at = dice.between(0, bytes.length);
  return {
    bytes: Buffer.concat([bytes.subarray(0, at), passage, bytes.subarray(at)]),
    what: `${short(passage.toString('utf8', 0, 40))} at ${at}`,
  };
};

const replaceAll: Change = (_bytes, dice) => {
  const passage = dice.pick(passages);
  return { bytes: Buffer.from(passage), what: `only ${short(passage.toString('utf8', 0, 40))}` };
};

const moveLines: Change = (bytes, dice) => {
  const lines = bytes.toString('latin1').split('\n');
  const at = dice.between(0, lines.length - 1);
  const moved = lines.splice(at, dice.between(1, 5));
  lines.splice(dice.between(0, lines.length), 0, ...moved);
  return { bytes: Buffer.from(lines.join('\n'), 'latin1'), what: `line ${at} elsewhere` };
};

const cut: Change = (bytes, dice) => {
  const length = dice.between(0, bytes.length);
  return { bytes: Buffer.from(bytes.subarray(0, length)), what: `cut at ${length}` };
};

const changes: readonly Change[] = [insert, insert, insert, moveLines, cut, replaceAll];

export function mutateText(bytes: Buffer, dice: Dice): Mutation {
  return dice.pick(changes)(bytes, dice);
}
