/**
 * One text in the model: its token ids, and their keys and values in the cache. Sequences of a runtime
 * share everything else. Each gets, to the bit, the logits that it would get alone.
 */

import { InputError } from '../errors.ts';
import { pagePositions } from '../plan/kv-layout.ts';
import type { PageList } from '../residency/kv-pages.ts';
import type { Batcher } from './batcher.ts';
import type { FfnHook } from './ffn-hook.ts';
import type { EachWanted, LogitsWanted } from './forward-options.ts';
import type { KvCache } from './kv-cache.ts';
import type { LoadedModel } from './loaded-model.ts';

export interface SequenceForward {
  /** For `all`: called with (rows, vocab) logits, valid during the call, and the index of the first. */
  readonly onLogits?: (logits: Float32Array, first: number) => void;
  readonly signal?: AbortSignal;
  /** Sees, and may change, the FFNs' activations; passes with a hook serve no other sequence. */
  readonly hook?: FfnHook;
}

/** The parts of a sequence. */
export interface SequenceParts {
  readonly runtime: LoadedModel;
  /** Makes a sequence over pages that hold these ids. */
  readonly adopt: (pages: PageList, ids: readonly number[]) => Sequence;
  readonly batcher: Batcher;
  readonly cache: KvCache;
  /** Buffer for the logits of its last row; null: they stay where the pass leaves them. */
  readonly logits: Float32Array | null;
}

export class Sequence {
  /** The runtime that it belongs to. */
  readonly runtime: LoadedModel;
  readonly #parts: SequenceParts;
  readonly #pages: PageList;
  readonly #ids: number[];
  #busy = false;
  #closed = false;

  /** Made by `Runtime.sequence` and {@link fork}. */
  constructor(parts: SequenceParts, pages: PageList, ids: readonly number[] = []) {
    this.runtime = parts.runtime;
    this.#parts = parts;
    this.#pages = pages;
    this.#ids = [...ids];
  }

  /** Ids whose keys and values are in the cache. */
  get ids(): readonly number[] {
    return this.#ids;
  }

  /** Positions in the cache. */
  get length(): number {
    return this.#ids.length;
  }

  /** Forgets everything, or all positions from `length` on. */
  rewind(length = 0): void {
    this.#checkIdle();
    if (length >= this.#ids.length) return;
    this.#ids.length = length;
    this.#pages.truncate(length);
  }

  /**
   * A sequence that begins as this one, whose keys and values it shares.
   * @throws InputError when as many are open as were planned
   */
  fork(): Sequence {
    this.#checkIdle();
    return this.#parts.adopt(this.#pages.fork(), this.#ids);
  }

  /**
   * Appends `ids` and computes logits.
   * @returns for `last` and `best`: the logits (vocab) of the last position, valid until the next call
   * @throws InputError when the sequence would be too long, or all positions are in use; the sequence is then
   * unchanged
   * @throws InterruptedError when the signal aborts; ids appended until then stay
   */
  async forward(
    ids: readonly number[],
    wanted: LogitsWanted = 'last',
    options: SequenceForward = {},
  ): Promise<Float32Array> {
    const { logits: own } = this.#parts;
    const logits = await this.#append(ids, wanted, options);
    return own === null || logits.length === 0 ? logits : own;
  }

  /**
   * Appends ids, of which all but the first are proposals, and computes the logits of each. Where the pass
   * has no room for all of them, it leaves out the last ones.
   * @param wanted for each id
   * @param use called once with the (appended, vocab) logits, while they are valid
   * @returns the result of `use`
   * @throws as {@link forward} does
   */
  async verify<T extends object>(
    ids: readonly number[],
    wanted: EachWanted,
    use: (logits: Float32Array) => T,
    signal?: AbortSignal,
  ): Promise<T> {
    const results: T[] = [];
    const onLogits = (logits: Float32Array) => results.push(use(logits));
    await this.#append(ids, wanted, { onLogits, ...(signal && { signal }) });
    this.#pages.truncate(this.length);
    const [result] = results;
    if (result === undefined) throw new Error('a verification needs ids');
    return result;
  }

  /**
   * How many positions a verification may append: beyond the first, none that another sequence may need.
   */
  get room(): number {
    const { context, kvCache } = this.runtime.plan;
    const left = context - this.length;
    const shared = kvCache.positions < kvCache.sequences * context;
    return shared ? Math.min(left, pagePositions - (this.length % pagePositions)) : left;
  }

  /** Appends some or all of the ids in passes. @returns the result of {@link Batcher.run} */
  async #append(
    ids: readonly number[],
    wanted: LogitsWanted,
    options: SequenceForward,
  ): Promise<Float32Array> {
    this.runtime.model.tokenizer.checkIds(ids);
    this.#checkIdle();
    const { context } = this.runtime.plan;
    const start = this.length;
    if (start + ids.length > context) {
      throw new InputError(
        `a sequence of ${start + ids.length} tokens exceeds the planned context of ` +
          `${context} positions`,
      );
    }
    const { cache, batcher, logits: own } = this.#parts;
    cache.extend(this.#pages, start, start + ids.length);
    this.#busy = true;
    try {
      return await batcher.run({
        pages: this.#pages,
        ids,
        start,
        wanted,
        ...options,
        onProgress: (rows) => {
          for (let i = 0; i < rows; i++) this.#ids.push(ids[this.length - start] ?? 0);
        },
        onDone: (logits) => own?.set(logits),
      });
    } catch (error) {
      this.#pages.truncate(this.length);
      throw error;
    } finally {
      this.#busy = false;
      if (this.#closed) this.#pages.close();
    }
  }

  /**
   * The logits of every position of a text, from an empty cache.
   * @returns (ids.length, vocab)
   */
  async logits(ids: readonly number[]): Promise<Float32Array> {
    const { vocabSize } = this.runtime.model.manifest.spec;
    const all = new Float32Array(ids.length * vocabSize);
    this.rewind();
    const onLogits = (logits: Float32Array, first: number) => all.set(logits, first * vocabSize);
    await this.forward(ids, 'all', { onLogits });
    return all;
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Releases its pages once no pass has rows of it; further calls do nothing. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    if (!this.#busy) this.#pages.close();
  }

  #checkIdle(): void {
    if (this.#closed) throw new Error('the sequence is closed');
    if (this.#busy) throw new Error('a forward pass is under way; wait for it first');
  }
}
