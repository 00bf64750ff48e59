/** GGUF files with a false header, metadata or tensors. */

import { array, f32, ggufBytes, text, u32, u64, value } from '../../../test/support/gguf.ts';
import type { Dice } from '../../../test/support/random.ts';
import { type GgufDocument, parseGguf, textsOf } from '../gguf-document.ts';
import { hostileIntegers, hostileTexts, shortHostileTexts } from '../hostile-values.ts';
import { writeInteger } from './bytes.ts';
import { type Donors, type Mutation, short } from './mutation.ts';

/** A value of any type, its code in front. */
function hostileValue(dice: Dice): Buffer {
  const integer = dice.pick(hostileIntegers);
  const number = Number(BigInt.asUintN(32, integer));
  const float = dice.pick([0, -1, 1e38, 1e-38, Number.NaN, Number.POSITIVE_INFINITY, 0.5]);
  return dice.pick([
    () => value.u32(number),
    () => Buffer.concat([u32(5), u32(number)]),
    () => Buffer.concat([u32(10), u64(BigInt.asUintN(64, integer))]),
    () => Buffer.concat([u32(12), doubleBytes(float)]),
    () => value.f32(float),
    () => value.bool(dice.chance(0.5)),
    () => value.text(dice.pick(hostileTexts)),
    () =>
      value.texts(Array.from({ length: dice.between(0, 4) }, () => dice.pick(shortHostileTexts))),
    () => array(4, [u32(number), u32(number)], dice.chance(0.5) ? 2 : integerCount(integer)),
    () =>
      array(
        6,
        Array.from({ length: dice.pick([0, 2, 300]) }, () => f32(float)),
      ),
    () => array(9, [array(8, [text('a')])]),
    () => Buffer.concat([u32(dice.between(8, 300)), u64(dice.between(0, 9))]),
  ])();
}

const integerCount = (integer: bigint) => BigInt.asUintN(64, integer);

function doubleBytes(number: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeDoubleLE(number);
  return bytes;
}

type Change = (document: GgufDocument, dice: Dice, donors: Donors) => string | null;

const replaceValue: Change = ({ metadata }, dice) => {
  const entry = dice.pick(metadata);
  entry[1] = hostileValue(dice);
  return `${entry[0]} = ${entry[1].toString('hex', 0, 24)}`;
};

/** The same type, another number. */
const shiftValue: Change = (document, dice, donors) => {
  const numeric = document.metadata.filter(([, bytes]) => [4, 5].includes(bytes.readUInt32LE()));
  if (numeric.length === 0) return replaceValue(document, dice, donors);
  const entry = dice.pick(numeric);
  const number = entry[1].readUInt32LE(4);
  const near = [
    number + 1,
    number - 1,
    number * 2,
    Math.floor(number / 2),
    number * 1000,
    2 ** 31 - 1,
  ];
  const next = dice.pick(near) >>> 0;
  entry[1] = Buffer.concat([entry[1].subarray(0, 4), u32(next)]);
  return `${entry[0]} = ${next}`;
};

/** A list of the tokenizer with another element, or with a false length. */
const changeTexts: Change = (document, dice, donors) => {
  const lists = document.metadata.filter(([, bytes]) => textsOf(bytes) !== null);
  if (lists.length === 0) return replaceValue(document, dice, donors);
  const entry = dice.pick(lists);
  const texts = textsOf(entry[1]) ?? [];
  const at = dice.between(0, Math.max(0, texts.length - 1));
  const kind = dice.next();
  if (kind < 0.5) texts[at] = dice.pick(hostileTexts);
  else if (kind < 0.6) texts.splice(at, dice.pick([1, texts.length]));
  else if (kind < 0.8)
    texts.push(...Array.from({ length: dice.pick([1, 500]) }, () => texts[at] ?? ''));
  else texts[at] = texts[dice.between(0, Math.max(0, texts.length - 1))] ?? '';
  const lie = dice.chance(0.1) ? integerCount(dice.pick(hostileIntegers)) : texts.length;
  entry[1] = array(8, texts.map(text), lie);
  return `${entry[0]}: element ${at} of ${texts.length} changed, ${lie} claimed`;
};

const changeKeys: Change = ({ metadata }, dice, donors) => {
  const at = dice.between(0, metadata.length - 1);
  const [key, bytes] = metadata[at] as [string, Buffer];
  const kind = dice.next();
  if (kind < 0.4) {
    metadata.splice(at, 1);
    return `${key} is gone`;
  }
  if (kind < 0.5) {
    metadata.push([key, bytes]);
    return `${key} occurs twice`;
  }
  if (kind < 0.7) {
    const name = dice.pick([...shortHostileTexts, 'general.alignment', 'split.count']);
    metadata.push([name, hostileValue(dice)]);
    return `a key ${short(name)} more`;
  }
  if (donors.length === 0) return null;
  const donor = dice.pick(parseGguf(dice.pick(donors)).metadata);
  const here = metadata.find(([name]) => name === donor[0]);
  if (here === undefined) metadata.push(donor);
  else here[1] = donor[1];
  return `${donor[0]} as in another file`;
};

const changeTensor: Change = ({ tensors }, dice) => {
  const at = dice.between(0, tensors.length - 1);
  const tensor = tensors[at];
  if (tensor === undefined) return null;
  const { name } = tensor;
  const integer = integerCount(dice.pick(hostileIntegers));
  const sizes = [...tensor.sizes];
  const kind = dice.next();
  if (kind < 0.2) {
    sizes[dice.between(0, sizes.length - 1)] = integer;
    tensors[at] = { ...tensor, sizes };
    return `sizes of ${name}: ${sizes}`;
  }
  if (kind < 0.35) {
    tensors[at] = { ...tensor, sizes: dice.chance(0.5) ? sizes.reverse() : [...sizes, 1] };
    return `sizes of ${name} turned`;
  }
  if (kind < 0.5) {
    const type = dice.pick([0, 1, 2, 3, 6, 7, 8, 10, 12, 14, 30, 31, 99, 2 ** 32 - 1]);
    tensors[at] = { ...tensor, type };
    return `type of ${name}: ${type}`;
  }
  if (kind < 0.65) {
    const offset = dice.pick([integer, 32n, BigInt(tensor.data.length)]);
    tensors[at] = { ...tensor, offset };
    return `offset of ${name}: ${offset}`;
  }
  if (kind < 0.75) {
    tensors.splice(at, 1);
    return `${name} is gone`;
  }
  if (kind < 0.9) {
    const other = dice.chance(0.5) ? dice.pick(tensors).name : dice.pick(hostileTexts);
    tensors[at] = { ...tensor, name: other };
    return `${name} is called ${short(other)}`;
  }
  const data = Buffer.alloc(tensor.data.length, dice.pick([0, 0xff, 0x7c, 0x7f]));
  tensors[at] = { ...tensor, data: dice.chance(0.5) ? data : tensor.data.subarray(0, 7) };
  return `data of ${name} spoilt`;
};

const changes = [
  replaceValue,
  replaceValue,
  shiftValue,
  changeTexts,
  changeKeys,
  changeTensor,
  changeTensor,
];

/**
 * A GGUF file with one thing wrong.
 * @throws RangeError if it no longer is one
 */
export function mutateGguf(bytes: Buffer, dice: Dice, donors: Donors): Mutation | null {
  const document = parseGguf(bytes);
  if (document.metadata.length === 0 || dice.chance(0.25)) {
    // Lengths of tokens outnumber all other fields, so each kind of field is made equally likely.
    const kind = dice.pick([...new Set(document.fields.map(({ what }) => what))]);
    const { at, width, what } = dice.pick(document.fields.filter((field) => field.what === kind));
    const integer = dice.pick(hostileIntegers);
    const changed = Buffer.from(bytes);
    writeInteger(changed, at, width, integer);
    return { bytes: changed, what: `${what}: ${integer}` };
  }
  const what = dice.pick(changes)(document, dice, donors);
  if (what === null) return null;
  const { metadata, tensors } = document;
  const lie = () => (dice.chance(0.03) ? integerCount(dice.pick(hostileIntegers)) : undefined);
  const [tensorCount, keyCount] = [lie(), lie()];
  return {
    bytes: ggufBytes({
      metadata,
      tensors,
      ...(tensorCount !== undefined && { tensorCount }),
      ...(keyCount !== undefined && { keyCount }),
    }),
    what,
  };
}
