/** What all mutators share. */

import type { Dice } from '../../../test/support/random.ts';

/** Corrupt content, and a description of what is wrong with it. */
export interface Mutation {
  readonly bytes: Buffer;
  readonly what: string;
}

/** Files of the same name in other inputs, from which parts may be taken. */
export type Donors = readonly Buffer[];

/** Null if there is nothing of that kind to change. */
export type Mutator = (bytes: Buffer, dice: Dice, donors: Donors) => Mutation | null;

/** `text` as it may stand in a report. */
export function short(text: string): string {
  const cut = text.length > 60 ? `${text.slice(0, 57)}...` : text;
  return JSON.stringify(cut);
}
