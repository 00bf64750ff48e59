/** The selector of a dense FFN: every row takes every unit. */

import type { BitSelection, FfnInput, Selector } from '../selection.ts';

export class AllUnits implements Selector<BitSelection> {
  readonly #units: number;

  /** @param units of the layer */
  constructor(units: number) {
    this.#units = units;
  }

  select({ positions }: FfnInput, into: BitSelection): BitSelection {
    return into.setAll(this.#units, positions);
  }
}
