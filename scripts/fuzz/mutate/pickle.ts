/** Pickles with other opcodes and arguments than torch writes. */

import type { Dice } from '../../../test/support/random.ts';
import { hostileIntegers, shortHostileTexts } from '../hostile-values.ts';
import { writeInteger } from './bytes.ts';
import { type Mutation, short } from './mutation.ts';

/** What follows an opcode: a number of bytes, lines, or a length in a number of bytes and that much data. */
type Argument =
  | { readonly bytes: number }
  | { readonly lines: number }
  | { readonly counted: 1 | 4 | 8 };

const code = (text: string) => [...text].map((char) => char.charCodeAt(0));
const all = (codes: readonly number[], argument: Argument) =>
  codes.map((each) => [each, argument] as const);

const operations: ReadonlyMap<number, Argument> = new Map([
  ...all(code('()]}Nt.0121aesubRQ\x85\x86\x87\x88\x89\x81\x93\x94'), { bytes: 0 }),
  ...all(code('Kqh\x80'), { bytes: 1 }),
  ...all(code('M'), { bytes: 2 }),
  ...all(code('Jrj'), { bytes: 4 }),
  ...all(code('G\x95'), { bytes: 8 }),
  ...all(code('XTB\x8b'), { counted: 4 }),
  ...all(code('\x8cUC\x8a'), { counted: 1 }),
  ...all(code('\x8d\x8e\x96'), { counted: 8 }),
  ...all(code('c'), { lines: 2 }),
]);

/** An opcode with its argument. */
interface Step {
  readonly at: number;
  readonly end: number;
}

/** The steps of the pickles that `bytes` begins with, as far as they are understood. */
function stepsOf(bytes: Buffer): Step[] {
  const steps: Step[] = [];
  for (let at = 0; at < bytes.length; ) {
    const argument = operations.get(bytes[at] ?? 0);
    const end = argument === undefined ? null : endOf(bytes, at + 1, argument);
    if (end === null || end > bytes.length) return steps;
    steps.push({ at, end });
    at = end;
  }
  return steps;
}

function endOf(bytes: Buffer, at: number, argument: Argument): number | null {
  if ('bytes' in argument) return at + argument.bytes;
  if ('lines' in argument) {
    let end = at;
    for (let line = 0; line < argument.lines; line++) {
      end = bytes.indexOf(0x0a, end) + 1;
      if (end === 0) return null;
    }
    return end;
  }
  const { counted } = argument;
  if (at + counted > bytes.length) return null;
  const length = counted === 8 ? Number(bytes.readBigUInt64LE(at)) : bytes.readUIntLE(at, counted);
  return at + counted + length;
}

const latin1 = (text: string) => Buffer.from(text, 'latin1');

/** What may be inserted between two steps: bombs, cycles, code, and uses of values that are not on the stack. */
const snippets: readonly Buffer[] = [
  ...['(', ')', '0', '1', 't', 'u', 's', 'R', 'b', 'Q', '.', 'e', 'a', '\x93', '\x94', '\x81'],
  ...[
    'cos\nsystem\n',
    'cbuiltins\neval\n(X\x01\0\0\0atR',
    'c__main__\n\x1b[2J\n',
    'csys\nexit\n)R',
  ],
  ...[
    '}q\x07X\x01\0\0\0ah\x07s',
    ']q\x07h\x07a',
    '(h\x00h\x00h\x00t',
    'h\xff',
    'j\xff\xff\xff\xff',
  ],
  ...[
    'ctorch\nFloatStorage\n',
    'ctorch._utils\n_rebuild_tensor_v2\n)R',
    'ccollections\nOrderedDict\n)R',
  ],
  ...[
    '\x80\x09',
    '\x95\xff\xff\xff\xff\xff\xff\xff\xff',
    'X\xff\xff\xff\xff',
    '\x8b\xff\xff\xff\x7f',
  ],
  ...[
    'G\x7f\xf8\0\0\0\0\0\0',
    'G\x7f\xf0\0\0\0\0\0\0',
    '\x8a\x09\xff\xff\xff\xff\xff\xff\xff\xff\x7f',
  ],
  '('.repeat(100_000),
  '}'.repeat(600_000),
  `)${'\x85'.repeat(300_000)}`,
  `]${'(e'.repeat(1_000)}`,
  `]q\x07${'(h\x07h\x07l'.repeat(3)}`,
  `(${'K\x01'.repeat(300_000)}t`,
  `K\x01${'\x94'.repeat(400_000)}`,
].map(latin1);

function between(bytes: Buffer, at: number, end: number, middle: Uint8Array): Buffer {
  return Buffer.concat([bytes.subarray(0, at), middle, bytes.subarray(end)]);
}

/** Another number in an argument, in as many bytes. */
function changeNumber(bytes: Buffer, { at, end }: Step, dice: Dice): Mutation {
  const changed = Buffer.from(bytes);
  const value = dice.pick(hostileIntegers);
  writeInteger(changed, at + 1, end - at - 1, value);
  return { bytes: changed, what: `pickle: ${value} at ${at}` };
}

/** Another string, with the right length. */
function changeText(bytes: Buffer, { at, end }: Step, dice: Dice): Mutation {
  const text = dice.pick([...shortHostileTexts, 'storage', '0', '1', 'fc1.weight', 'cuda:0']);
  const content = Buffer.from(text);
  const step = Buffer.alloc(5);
  step[0] = 0x58;
  step.writeUInt32LE(content.length, 1);
  return {
    bytes: between(bytes, at, end, Buffer.concat([step, content])),
    what: `pickle: ${short(text)} at ${at}`,
  };
}

/** Another name of a class or function. */
function changeGlobal(bytes: Buffer, { at, end }: Step, dice: Dice): Mutation {
  const name = dice.pick([
    ...[
      'torch\nHalfStorage',
      'torch\nDoubleStorage',
      'torch\nComplexFloatStorage',
      'torch\nfloat16',
    ],
    ...['torch\nSize', 'torch\ndevice', 'torch._utils\n_rebuild_parameter', 'os\nsystem'],
    ...[
      'collections\nOrderedDict',
      'torch._utils\n_rebuild_tensor_v3',
      'a\x1b[2J\nb',
      '__proto__\nx',
    ],
  ]);
  return {
    bytes: between(bytes, at, end, latin1(`c${name}\n`)),
    what: `pickle: ${short(name)} at ${at}`,
  };
}

/** A pickle, or several followed by raw data, with one step changed; null if there is none. */
export function mutatePickle(bytes: Buffer, dice: Dice): Mutation | null {
  const steps = stepsOf(bytes);
  if (steps.length === 0) return null;
  const step = dice.pick(steps);
  const { at, end } = step;
  const kind = dice.next();
  if (kind < 0.3) {
    const argument = operations.get(bytes[at] ?? 0);
    if (argument !== undefined && 'counted' in argument && bytes[at] !== 0x8a) {
      return changeText(bytes, step, dice);
    }
    if (bytes[at] === 0x63) return changeGlobal(bytes, step, dice);
    if (end - at > 1) return changeNumber(bytes, step, dice);
  }
  if (kind < 0.45) {
    return {
      bytes: between(bytes, at, end, Buffer.alloc(0)),
      what: `pickle: a step gone at ${at}`,
    };
  }
  if (kind < 0.6) {
    const last =
      steps[Math.min(steps.length - 1, steps.indexOf(step) + dice.between(0, 8))] ?? step;
    const copied = bytes.subarray(at, last.end);
    return { bytes: between(bytes, at, at, copied), what: `pickle: steps doubled at ${at}` };
  }
  if (kind < 0.7) {
    const changed = Buffer.from(bytes);
    changed[at] = dice.pick([...operations.keys()]);
    return { bytes: changed, what: `pickle: opcode ${changed[at]} at ${at}` };
  }
  const snippet = dice.pick(snippets);
  return {
    bytes: between(bytes, at, at, snippet),
    what: `pickle: ${snippet.length} bytes ${snippet.toString('hex', 0, 8)} at ${at}`,
  };
}
