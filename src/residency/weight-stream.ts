/**
 * Streams the weights that do not stay in DRAM, in the order in which a forward pass uses them,
 * through a ring of slots:
 *
 *      consumed     in use      read, waiting     being read
 *   ---------------[slot 3]----[slot 4][slot 5]--[slot 6][slot 0]--->
 *
 * A slot is filled again as soon as it is released, across layers and across tokens, so reads are in flight
 * while the kernels compute. A read gets memory only after its last user is done.
 */

import type { Format } from '../dtype.ts';
import { weightFormat } from '../flash/manifest.ts';
import type { ModelFiles, RowRequest } from '../flash/model-files.ts';
import type { RowRange } from '../flash/row-range.ts';
import type { MemoryPlan } from '../plan/memory-plan.ts';
import type { StreamRing } from '../plan/ring.ts';

/** Rows that lie in memory, ready for the kernels. */
export interface LoadedRows {
  readonly first: number;
  readonly count: number;
  /** The memory they lie in: 0, or one of the plan's arenas, counted from 1. */
  readonly arena: number;
  /** Address of the first row. */
  readonly address: number;
  /** Format of the rows; for units, that of their first part, as stored or packed. */
  readonly format: Format;
  /** Whether all parts of units that have a packed format are in it. */
  readonly packed: boolean;
  /** Whether they are neurons whose rows lie apart (rows-apart.ts). */
  readonly apart: boolean;
}

/**
 * The most reads of a stream in flight while an FFN requests single units: these requests queue in the device
 * behind earlier ones, and the stream is ahead of its use anyway.
 */
const readsBesideUnits = 4;

interface Slot {
  readonly range: RowRange;
  readonly request: RowRequest;
}

export class WeightStream {
  readonly #files: ModelFiles;
  readonly #memory: WebAssembly.Memory;
  readonly #ring: StreamRing;
  #body: readonly RowRange[];
  #head: readonly RowRange[];
  /** Slots that are filled or being filled, oldest first. */
  readonly #queue: Slot[] = [];
  /** For each begun pass whose reads are not all submitted: whether it computes logits. */
  readonly #passes: boolean[] = [];
  /** The number of ranges submitted for the first of these, or for the body of a pass that may follow. */
  #submitted = 0;
  #nextSlot = 0;
  readonly #mostReading: number;
  /** Slots that are being filled. */
  #reading = 0;

  constructor(
    files: ModelFiles,
    memory: WebAssembly.Memory,
    ring: StreamRing,
    { body, head, sparse, experts }: Pick<MemoryPlan, 'body' | 'head' | 'sparse' | 'experts'>,
  ) {
    const alone = sparse === null && experts === null;
    this.#mostReading = alone ? ring.slots : readsBesideUnits;
    this.#files = files;
    this.#memory = memory;
    this.#ring = ring;
    this.#body = body;
    this.#head = head;
  }

  /** Announces a pass, which will take the body's ranges and, for logits, the head's. */
  beginPass(withHead: boolean): void {
    this.#passes.push(withHead);
    this.#fill();
  }

  /**
   * Waits for the next range, which must be `range`.
   * @returns its rows; they stay valid until {@link release}
   */
  async next(range: RowRange): Promise<LoadedRows> {
    const slot = this.#queue[0];
    if (slot?.range !== range) throw new Error(`${range.tensor.name} is not next in the stream`);
    slot.request.promote();
    const address = await this.#files.scheduler.stats.awaited(slot.request.done);
    return {
      first: range.first,
      count: range.count,
      arena: 0,
      address,
      format: weightFormat(range.tensor, this.#files.manifest),
      packed: false,
      apart: false,
    };
  }

  /** Releases the slot of the last {@link next}; later reads overwrite its memory. */
  release(): void {
    this.#queue.shift();
    this.#fill();
  }

  /** Gives up ranges that were read ahead; once no read is in flight, a new pass may begin. */
  async reset(): Promise<void> {
    this.#passes.length = 0;
    this.#submitted = 0;
    await Promise.all(this.#queue.splice(0).map(({ request }) => request.cancel()));
  }

  /** Passes take other ranges from then on. None may be begun, and no range read ahead: see {@link reset}. */
  replace({ body, head }: Pick<MemoryPlan, 'body' | 'head'>): void {
    if (this.#queue.length > 0 || this.#passes.length > 0) throw new Error('a pass is under way');
    this.#body = body;
    this.#head = head;
  }

  #fill(): void {
    while (this.#queue.length < this.#ring.slots && this.#reading < this.#mostReading) {
      const range = this.#upcoming();
      if (range === undefined) return;
      const address = this.#ring.address + this.#nextSlot * this.#ring.slotBytes;
      this.#nextSlot = (this.#nextSlot + 1) % this.#ring.slots;
      const request = this.#files.requestRows(range, this.#memory, address, 'prefetch');
      const slot = { range, request };
      this.#queue.push(slot);
      this.#reading++;
      const ended = () => {
        this.#reading--;
        // The end of a read that was given up starts no other read.
        if (this.#queue.includes(slot)) this.#fill();
      };
      request.done.then(ended, ended);
    }
  }

  /** The range to submit next: after the begun passes, the body of one more pass, which is likely to come. */
  #upcoming(): RowRange | undefined {
    for (;;) {
      const withHead = this.#passes[0];
      const inBody = this.#body[this.#submitted];
      if (inBody !== undefined) {
        this.#submitted++;
        return inBody;
      }
      if (withHead === undefined) return undefined;
      const inHead = withHead ? this.#head[this.#submitted - this.#body.length] : undefined;
      if (inHead !== undefined) {
        this.#submitted++;
        return inHead;
      }
      this.#passes.shift();
      this.#submitted = 0;
    }
  }
}
