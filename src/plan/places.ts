/** Where the plan keeps weights. */

import type { ArenaAddress } from './arena-space.ts';

/** A tensor of which the first `rows` rows lie in DRAM, from `address` on in memory `arena`. */
export interface Residence extends ArenaAddress {
  readonly rows: number;
}

/** Where a layer's neurons lie, `slots` bundles from `address` on; no slot: they only pass through. */
export interface StorePlace extends ArenaAddress {
  readonly slots: number;
}
