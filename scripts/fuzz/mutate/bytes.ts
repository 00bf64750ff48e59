/** Damage that knows nothing of the format: flipped, lost, doubled and foreign bytes. */

import type { Dice } from '../../../test/support/random.ts';
import { hostileIntegers } from '../hostile-values.ts';
import type { Mutation } from './mutation.ts';

type Change = (bytes: Buffer, dice: Dice) => Mutation;

/** A place in a file: half of them near one of its ends, where headers and directories are. */
function place(length: number, dice: Dice): number {
  if (length === 0) return 0;
  const near = Math.min(length, 512);
  if (dice.chance(0.35)) return dice.between(0, near - 1);
  if (dice.chance(0.2)) return length - dice.between(1, near);
  return dice.between(0, length - 1);
}

const flip: Change = (bytes, dice) => {
  const changed = Buffer.from(bytes);
  const flips = dice.pick([1, 1, 1, 2, 4, 16]);
  for (let i = 0; i < flips && changed.length > 0; i++) {
    const at = place(changed.length, dice);
    changed[at] = dice.chance(0.5)
      ? (changed[at] ?? 0) ^ (1 << dice.between(0, 7))
      : dice.between(0, 255);
  }
  return { bytes: changed, what: `${flips} bytes changed` };
};

const truncate: Change = (bytes, dice) => {
  const length = dice.chance(0.1) ? 0 : place(bytes.length, dice);
  return { bytes: Buffer.from(bytes.subarray(0, length)), what: `cut at ${length}` };
};

const insert: Change = (bytes, dice) => {
  const at = place(bytes.length, dice);
  const fill = dice.pick([0, 0x20, 0xff, 0x5b, 0x0a, 0x1b]);
  const added = Buffer.alloc(dice.pick([1, 2, 7, 8, 512, 4096]), fill);
  const bytesNow = Buffer.concat([bytes.subarray(0, at), added, bytes.subarray(at)]);
  return { bytes: bytesNow, what: `${added.length} bytes ${fill} at ${at}` };
};

const remove: Change = (bytes, dice) => {
  const at = place(bytes.length, dice);
  const length = dice.pick([1, 2, 8, 100, 4096]);
  const bytesNow = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + length)]);
  return { bytes: bytesNow, what: `${length} bytes gone at ${at}` };
};

const double: Change = (bytes, dice) => {
  const at = place(bytes.length, dice);
  const part = bytes.subarray(at, at + dice.pick([1, 8, 64, 1024]));
  const bytesNow = Buffer.concat([bytes.subarray(0, at), part, bytes.subarray(at)]);
  return { bytes: bytesNow, what: `${part.length} bytes doubled at ${at}` };
};

const append: Change = (bytes, dice) => {
  const added = Buffer.alloc(dice.pick([1, 8, 4096, 65536]), dice.pick([0, 0x41, 0xff]));
  return { bytes: Buffer.concat([bytes, added]), what: `${added.length} bytes more at the end` };
};

/** A number that is too large, too small or negative where one may stand. */
const overwrite: Change = (bytes, dice) => {
  const changed = Buffer.from(bytes);
  const width = dice.pick([1, 2, 4, 8]);
  const at = Math.max(0, Math.min(place(bytes.length, dice), bytes.length - width));
  const value = dice.pick(hostileIntegers);
  writeInteger(changed, at, Math.min(width, bytes.length), value);
  return { bytes: changed, what: `${value} in ${width} bytes at ${at}` };
};

/** Writes the low `width` bytes of `value`, little-endian. */
export function writeInteger(bytes: Buffer, at: number, width: number, value: bigint): void {
  for (let i = 0; i < width; i++) {
    bytes[at + i] = Number(BigInt.asUintN(8, value >> BigInt(8 * i)));
  }
}

const changes: readonly Change[] = [
  flip,
  flip,
  truncate,
  insert,
  remove,
  double,
  append,
  overwrite,
];

/** Damages `bytes`, whatever they are. */
export function mutateBytes(bytes: Buffer, dice: Dice): Mutation {
  return dice.pick(changes)(bytes, dice);
}
