/** Files of torch.save with a corrupt archive or pickle. */

import { zipBytes } from '../../../test/checkpoint/torch-writer.ts';
import type { Dice } from '../../../test/support/random.ts';
import { hostileIntegers, shortHostileTexts } from '../hostile-values.ts';
import { parseZip, type ZipDocument } from '../zip-document.ts';
import { writeInteger } from './bytes.ts';
import { type Mutation, short } from './mutation.ts';
import { mutatePickle } from './pickle.ts';

const pickleName = /(^|\/)data\.pkl$/;

/**
 * A torch file, zip or legacy, with one thing wrong.
 * @throws RangeError if it no longer is one
 */
export function mutateTorch(bytes: Buffer, dice: Dice): Mutation | null {
  if (bytes.toString('latin1', 0, 2) !== 'PK') return mutatePickle(bytes, dice);
  const archive = parseZip(bytes);
  const kind = dice.next();
  if (kind < 0.25) return changeField(bytes, archive, dice);
  if (kind < 0.45) return changeEntries(archive, dice);
  const at = archive.entries.findIndex(([name]) => pickleName.test(name));
  const entry = archive.entries[at];
  if (entry === undefined) return null;
  const changed = mutatePickle(entry[1], dice);
  if (changed === null) return null;
  entry[1] = changed.bytes;
  return { bytes: join(archive), what: changed.what };
}

function changeField(bytes: Buffer, { fields }: ZipDocument, dice: Dice): Mutation {
  const { what, at, width } = dice.pick(fields);
  const value = dice.pick(hostileIntegers);
  const changed = Buffer.from(bytes);
  writeInteger(changed, at, width, value);
  return { bytes: changed, what: `zip ${what}: ${value}` };
}

function changeEntries(archive: ZipDocument, dice: Dice): Mutation | null {
  const { entries } = archive;
  if (entries.length === 0) return null;
  const at = dice.between(0, entries.length - 1);
  const [name, data] = entries[at] as [string, Buffer];
  const kind = dice.next();
  let what: string;
  if (kind < 0.25) {
    entries.splice(at, 1);
    what = `${short(name)} is gone`;
  } else if (kind < 0.5) {
    const other = dice.pick([...shortHostileTexts, 'data.pkl', 'x/data.pkl', 'archive/byteorder']);
    entries[at] = [other, data];
    what = `${short(name)} is called ${short(other)}`;
  } else if (kind < 0.75) {
    const length = dice.pick([0, 1, data.length - 1, data.length + 1, 1 << 20]);
    entries[at] = [
      name,
      Buffer.concat([data, Buffer.alloc(1 << 20)]).subarray(0, Math.max(0, length)),
    ];
    what = `${short(name)} has ${length} bytes`;
  } else {
    const count = dice.pick([1, 100, 20_000]);
    for (let i = 0; i < count; i++) entries.push([`archive/data/x${i}`, Buffer.alloc(0)]);
    what = `${count} entries more`;
  }
  return { bytes: join(archive), what };
}

function join({ entries }: ZipDocument): Buffer {
  return zipBytes(Object.fromEntries(entries));
}
