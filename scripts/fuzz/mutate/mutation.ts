/** What all mutators share. */

import type { Dice } from '../../../test/support/random.ts';

/** Content with something wrong in it, and what that is, for people. */
export interface Mutation {
  readonly bytes: Buffer;
  readonly what: string;
}

/** Files of the same name in other inputs, from which parts may be taken. */
export type Donors = readonly Buffer[];

/** Null where there is nothing of the kind to change. */
export type Mutator = (bytes: Buffer, dice: Dice, donors: Donors) => Mutation | null;

/** `text` as it may stand in a report. */
export function short(text: string): string {
  const cut = text.length > 60 ? `${text.slice(0, 57)}...` : text;
  return JSON.stringify(cut);
}
