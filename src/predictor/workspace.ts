/** The region of memory for training, allocated piece by piece. */

import type { Kernels } from '../kernels/kernels.ts';
import type { Address } from '../kernels/signature.ts';
import { scratchBytes } from '../kernels/weight-kernels.ts';
import { alignUp } from '../units.ts';

export interface Region {
  readonly address: Address;
  readonly bytes: number;
}

const alignment = 64;

export class Workspace {
  readonly memory: WebAssembly.Memory;
  readonly kernels: Kernels;
  readonly #region: Region;
  #next: Address;

  constructor(memory: WebAssembly.Memory, kernels: Kernels, region: Region) {
    this.memory = memory;
    this.kernels = kernels;
    this.#region = region;
    this.#next = alignUp(region.address, alignment);
  }

  /** A place for `count` f32 or as many bytes. */
  take(count: number): Address {
    const address = this.#next;
    this.#next = alignUp(address + 4 * count, alignment);
    const { address: start, bytes } = this.#region;
    if (this.#next > start + bytes) throw new Error('the training region is too small');
    return address;
  }

  /** Runs `work` with the free memory, and frees what it allocated. */
  within<T>(work: () => T): T {
    const mark = this.#next;
    try {
      return work();
    } finally {
      this.#next = mark;
    }
  }

  /** The same for asynchronous work; no other code may allocate meanwhile. */
  async during<T>(work: () => Promise<T>): Promise<T> {
    const mark = this.#next;
    try {
      return await work();
    } finally {
      this.#next = mark;
    }
  }

  floats(address: Address, count: number): Float32Array {
    return new Float32Array(this.memory.buffer, address, count);
  }

  /** Scratch for kernels over up to `cols` columns. */
  scratch(cols: number): Address {
    return this.take(scratchBytes(cols) / 4);
  }
}
