/**
 * Where the head does not fit, a 4-bit copy of it proposes tokens and the head's own rows decide: for the
 * tokens whose logit could be one of the k largest, the head's rows are read from flash. The k largest logits
 * are those of the whole head, to the bit; for a head of 272 MB, a token passes over 77 MB in DRAM and reads
 * some tens of rows.
 *
 *     x ─ copy in 4 bits ─ logits, each with its margin ─┬─ surely not of the k largest    out
 *                                                        └─ others: rows of the head       exact
 *
 * The error of a logit computed with rounded weights is a sum of rounding errors, each times a value of x.
 * Its standard deviation is known: the row's error (root mean square) times the length of x.
 */

import { byteLength } from '../dtype.ts';
import { InterruptedError } from '../errors.ts';
import type { StoredTensor } from '../flash/manifest.ts';
import type { ModelFiles } from '../flash/model-files.ts';
import { cutRows } from '../flash/row-range.ts';
import type { Kernels } from '../kernels/kernels.ts';
import { headTensor } from '../models/spec.ts';
import { forEachParallel } from '../parallel.ts';
import { proposalDType } from '../plan/head-copy.ts';
import type { MemoryPlan } from '../plan/memory-plan.ts';
import { topIds } from '../top-ids.ts';
import { memoryOf, type WeightMemory } from './packing.ts';

/**
 * The largest assumed error of a logit computed with rounded weights, in standard deviations. For a wrong
 * choice two logits would need such errors in opposite directions: an error of 8.5 deviations in their
 * difference.
 */
const deviations = 6;
const f32Bytes = 4;

export class HeadProposal {
  /** The copy, resident as a whole. */
  readonly tensor: StoredTensor;
  readonly head: StoredTensor;
  /** (vocab): root mean square of a row's rounding errors. */
  readonly #errors: Float32Array;
  /** (vocab): scratch. */
  readonly #least: Float32Array;

  private constructor(tensor: StoredTensor, head: StoredTensor, errors: Float32Array) {
    this.tensor = tensor;
    this.head = head;
    this.#errors = errors;
    this.#least = new Float32Array(errors.length);
  }

  /**
   * Reads the head once and makes the copy if the plan has a place for it.
   * @returns null where the plan keeps the head itself, or streams it
   */
  static async load(
    files: ModelFiles,
    plan: MemoryPlan,
    memories: readonly (WeightMemory & { readonly kernels: Kernels })[],
    onProgress?: (doneBytes: number, totalBytes: number) => void,
    signal?: AbortSignal,
  ): Promise<HeadProposal | null> {
    const { headProposal: tensor, rowStaging, activations } = plan;
    const residence = tensor && plan.residences.get(tensor);
    if (tensor === null || !residence) return null;
    const head = files.tensor(headTensor(files.manifest.spec));
    const [rows = 0, columns = 0] = head.shape;
    const errors = new Float32Array(rows);
    const [main] = memories;
    if (main === undefined || head.dtype === 'u8') throw new Error('no memory for the head');
    const { memory, kernels } = main;
    // Rows are rounded in the buffers of activations, which are not in use yet.
    const exact = activations.hidden;
    const { toF32 } = kernels.byDType[head.dtype];
    const rounder = new RowRounder(kernels, memory, exact, columns);
    const rowBytes = byteLength(head.dtype, columns);
    const roundedBytes = byteLength(proposalDType, columns);
    const target = memoryOf(memories, residence.arena).memory;
    let done = 0;
    await forEachParallel(
      cutRows(head, rowStaging.slotBytes),
      rowStaging.slots,
      async (range, lane) => {
        if (signal?.aborted) throw new InterruptedError();
        const place = rowStaging.address + lane * rowStaging.slotBytes;
        const from = await files.readRows(range, memory, place, 'prefetch');
        for (let i = 0; i < range.count; i++) {
          const row = range.first + i;
          toF32(exact, from + i * rowBytes, columns);
          errors[row] = rounder.round(target, residence.address + row * roundedBytes);
        }
        done += range.count * rowBytes;
        onProgress?.(done, head.bytes);
      },
    );
    return new HeadProposal(tensor, head, errors);
  }

  /**
   * The tokens whose logit could be one of the `k` largest, by descending upper bound, and the bounds of
   * each.
   * @param logits (vocab), computed with the copy
   * @param length of the head's input
   */
  candidates(logits: Float32Array, length: number, k: number): Candidates {
    const margin = deviations * length;
    const errors = this.#errors;
    const least = this.#least;
    for (let id = 0; id < logits.length; id++) {
      least[id] = (logits[id] as number) - margin * (errors[id] as number);
    }
    const limit = least[topIds(least, Math.min(k, least.length)).at(-1) ?? 0] ?? 0;
    const most = (id: number) => (logits[id] as number) + margin * (errors[id] as number);
    const ids: number[] = [];
    for (let id = 0; id < logits.length; id++) if (most(id) >= limit) ids.push(id);
    ids.sort((a, b) => most(b) - most(a) || a - b);
    return {
      ids,
      lower: Float32Array.from(ids, (id) => least[id] as number),
      upper: Float32Array.from(ids, most),
    };
  }
}

/** Tokens with the bounds of their logits, (ids) each. */
export interface Candidates {
  readonly ids: readonly number[];
  readonly lower: Float32Array;
  readonly upper: Float32Array;
}

/** Rounds a row of f32 in the first memory, and computes its rounding error. */
class RowRounder {
  readonly #kernels: Kernels;
  readonly #memory: WebAssembly.Memory;
  readonly #rounded: number;
  readonly #again: number;
  readonly #exact: Float32Array;
  readonly #values: Float32Array;
  readonly #columns: number;

  /** @param exact address for the row; two more rows must be free after it */
  constructor(kernels: Kernels, memory: WebAssembly.Memory, exact: number, columns: number) {
    this.#kernels = kernels;
    this.#memory = memory;
    this.#columns = columns;
    this.#again = exact + columns * f32Bytes;
    this.#rounded = this.#again + columns * f32Bytes;
    this.#exact = new Float32Array(memory.buffer, exact, columns);
    this.#values = new Float32Array(memory.buffer, this.#again, columns);
  }

  /** Writes the rounded row to `address` in `target`. @returns the root mean square of its errors */
  round(target: WebAssembly.Memory, address: number): number {
    const { toF32, fromF32 } = this.#kernels.byDType[proposalDType];
    const columns = this.#columns;
    const bytes = byteLength(proposalDType, columns);
    fromF32(this.#rounded, this.#exact.byteOffset, columns);
    toF32(this.#again, this.#rounded, columns);
    new Uint8Array(target.buffer, address, bytes).set(
      new Uint8Array(this.#memory.buffer, this.#rounded, bytes),
    );
    let squares = 0;
    const exact = this.#exact;
    const values = this.#values;
    for (let i = 0; i < columns; i++) {
      const error = (exact[i] as number) - (values[i] as number);
      squares += error * error;
    }
    return Math.sqrt(squares / columns);
  }
}
