/** Where the plan keeps weights. */

import type { ArenaAddress } from './arena-space.ts';

/** A tensor whose first `rows` rows lie in DRAM, from `address` on in memory `arena`. */
export interface Residence extends ArenaAddress {
  readonly rows: number;
}

/**
 * Further rows of a tensor: `rows` of them from row `first` on, which is the row after its {@link Residence}.
 */
export interface Extension extends Residence {
  readonly first: number;
}

/**
 * The place of a layer's neurons: `slots` bundles from `address` on; without slots, all neurons pass through
 * staging.
 */
export interface StorePlace extends ArenaAddress {
  readonly slots: number;
}
