/** Checksums of the tensors of one file while it is written. */

import { BlockChecksums } from '../flash/checksum.ts';

export interface TensorSums {
  /** Whether another thread computes them; else `add` has done so when it returns its promise. */
  readonly concurrent: boolean;
  /**
   * Adds the next bytes of a tensor, which may change when the promise resolves.
   * @param tensor its number in the file
   */
  add(tensor: number, bytes: Uint8Array): Promise<void>;
  /** For each tensor the checksums of all its blocks; the last block may be shorter. */
  finish(): Promise<readonly Uint32Array[]>;
}

/** Computed on this thread. */
export class OwnSums implements TensorSums {
  readonly concurrent = false;
  readonly #sums: readonly BlockChecksums[];

  /** @param blockBytes for each tensor the bytes that one checksum covers */
  constructor(blockBytes: readonly number[]) {
    this.#sums = blockBytes.map((bytes) => new BlockChecksums(bytes));
  }

  async add(tensor: number, bytes: Uint8Array): Promise<void> {
    const sum = this.#sums[tensor];
    if (sum === undefined) throw new Error(`there is no tensor ${tensor}`);
    sum.add(bytes);
  }

  async finish(): Promise<readonly Uint32Array[]> {
    return this.#sums.map((sum) => sum.finish());
  }
}
