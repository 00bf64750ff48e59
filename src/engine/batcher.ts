/**
 * Joins the work that waits for the model into batches: single tokens first, then equal shares of the
 * prompts. One pass runs at a time; work that arrives during it joins the next one. Weights that are not in
 * memory are read once for the whole batch.
 */

import { FlashError, InterruptedError } from '../errors.ts';
import type { PageList } from '../residency/kv-pages.ts';
import { yieldToEventLoop } from '../yield-to-event-loop.ts';
import { Batch, type BatchPart, logitsCount } from './batch.ts';
import type { FfnHook } from './ffn-hook.ts';
import { isEachWanted, type LogitsWanted } from './forward-options.ts';
import type { PassTimes } from './pass-times.ts';
import type { Transformer } from './transformer.ts';

/** Ids to append to a sequence, which has pages for them, and which logits of them are wanted. */
export interface Work {
  readonly pages: PageList;
  readonly ids: readonly number[];
  /** Where they begin. */
  readonly start: number;
  /**
   * Where the logits of each row are wanted, only the first id must be appended; the others are appended as
   * far as the pass has room.
   */
  readonly wanted: LogitsWanted;
  /**
   * For `all` and each: called with the logits (rows, vocab) of some rows, and the index in `ids` of
   * their first.
   */
  readonly onLogits?: ((logits: Float32Array, first: number) => void) | undefined;
  /** Called when `rows` more of the ids are in the cache. */
  readonly onProgress: (rows: number) => void;
  /** Called at the end with the result of {@link Batcher.run}, before another pass overwrites it. */
  readonly onDone: (logits: Float32Array) => void;
  readonly signal?: AbortSignal | undefined;
  /** Work with a hook gets a separate pass. */
  readonly hook?: FfnHook | undefined;
}

interface Waiting {
  readonly work: Work;
  /** Ids that are in the cache. */
  done: number;
  readonly resolve: (logits: Float32Array) => void;
  readonly reject: (error: unknown) => void;
  /** Whether the pass in progress has rows of it. */
  inFlight: boolean;
}

/** Some rows of waiting work. */
interface Share {
  readonly waiting: Waiting;
  readonly part: BatchPart;
}

export interface BatcherParts {
  readonly transformer: Transformer;
  readonly vocabSize: number;
  /** The most rows of a batch, and the most rows of it that have room for logits. */
  readonly chunk: number;
  readonly logitPositions: number;
  /** Whether other sequences may join: then the batcher gives them a moment before each pass. */
  readonly shared: boolean;
  readonly passTimes: PassTimes;
  /** Called after a pass that was broken off. */
  readonly reset: () => Promise<void>;
}

const noLogits = new Float32Array(0);

/** Whether it makes the next token of a text, or verifies some. */
function isDecode({ ids, wanted, hook }: Work): boolean {
  return hook === undefined && (ids.length === 1 || isEachWanted(wanted));
}

export class Batcher {
  readonly #parts: BatcherParts;
  #waiting: Waiting[] = [];
  /** Runs before the next pass. */
  readonly #between: (() => Promise<void>)[] = [];
  /** The pass in progress. */
  #running: Promise<void> | null = null;
  #closed = false;

  constructor(parts: BatcherParts) {
    this.#parts = parts;
  }

  /**
   * Queues `work` and waits until it is done.
   * @returns for `last` and `best`: the logits (vocab) of its last row, a view that the next pass
   * overwrites; else none
   * @throws InterruptedError when its signal aborts: at once while it waits, else when the pass ends,
   * which is at the next layer unless it has others to serve
   */
  run(work: Work): Promise<Float32Array> {
    return new Promise((resolve, reject) => {
      if (this.#closed) {
        reject(new FlashError('the model is closed'));
        return;
      }
      if (work.signal?.aborted) {
        reject(new InterruptedError());
        return;
      }
      if (work.ids.length === 0) {
        resolve(noLogits);
        return;
      }
      this.#waiting.push({ work, done: 0, resolve, reject, inFlight: false });
      this.#running ??= this.#runAll();
    });
  }

  /**
   * Runs `work` while no pass is in flight; the passes of waiting work follow it.
   * @returns its result
   */
  alone<T>(work: () => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      if (this.#closed) {
        reject(new FlashError('the model is closed'));
        return;
      }
      this.#between.push(() => work().then(resolve, reject));
      this.#running ??= this.#runAll();
    });
  }

  /** Rejects all waiting and later work, and waits until the pass in progress has ended. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#running;
  }

  async #runAll(): Promise<void> {
    try {
      for (;;) {
        // Gives callers that got logits time to sample and to submit a token.
        if (this.#parts.shared) await yieldToEventLoop();
        for (const work of this.#between.splice(0)) await work();
        this.#dropInterrupted();
        if (this.#closed) this.#refuseAll(new InterruptedError());
        if (this.#waiting.length === 0) return;
        await this.#pass(this.#choose());
      }
    } catch (error) {
      this.#refuseAll(error);
    } finally {
      this.#running = null;
    }
  }

  async #pass(shares: readonly Share[]): Promise<void> {
    const { transformer, reset } = this.#parts;
    const batch = new Batch(shares.map(({ part }) => part));
    for (const { waiting } of shares) waiting.inFlight = true;
    const decodes = shares.every(({ waiting }) => isDecode(waiting.work));
    const started = performance.now();
    try {
      const logits = await transformer.forward(batch, {
        interrupted: () => {
          this.#dropInterrupted();
          return this.#closed || shares.every(({ waiting }) => waiting.work.signal?.aborted);
        },
        hook: shares[0]?.waiting.work.hook,
      });
      if (decodes) {
        this.#parts.passTimes.add(batch.rows, shares.length, performance.now() - started);
      }
      this.#deliver(shares, logits);
    } catch (error) {
      await reset(); // the pass was broken off; the next one begins anew
      for (const { waiting } of shares) this.#end(waiting, () => waiting.reject(error));
    }
    for (const { waiting } of shares) waiting.inFlight = false;
  }

  /** Gives each share its logits, and resolves work that is complete. */
  #deliver(shares: readonly Share[], logits: Float32Array): void {
    const { vocabSize } = this.#parts;
    let row = 0;
    for (const { waiting, part } of shares) {
      const { work } = waiting;
      const rows = logitsCount(part);
      // Creating a view costs as much as some kernels: a single sequence takes all of it without one.
      const own =
        rows * vocabSize === logits.length
          ? logits
          : logits.subarray(row * vocabSize, (row + rows) * vocabSize);
      row += rows;
      if (work.signal?.aborted) {
        this.#end(waiting, () => waiting.reject(new InterruptedError()));
        continue;
      }
      try {
        const each = isEachWanted(part.wanted);
        if (part.wanted === 'all' || each) work.onLogits?.(own, waiting.done);
        work.onProgress(part.ids.length);
      } catch (error) {
        this.#end(waiting, () => waiting.reject(error));
        continue;
      }
      waiting.done += part.ids.length;
      const optional = isEachWanted(work.wanted);
      if (waiting.done < work.ids.length && !optional) continue;
      const result = part.wanted === 'all' || optional ? noLogits : own;
      if (result.length > 0) work.onDone(result);
      this.#end(waiting, () => waiting.resolve(result));
    }
  }

  /** The rows of the next pass. */
  #choose(): Share[] {
    const [first] = this.#waiting;
    const { chunk, logitPositions } = this.#parts;
    const alone = first?.work.hook !== undefined;
    const chosen = alone
      ? this.#waiting.slice(0, 1)
      : this.#waiting.filter(({ work }) => work.hook === undefined);
    const left = ({ work, done }: Waiting) => work.ids.length - done;
    const single = (waiting: Waiting) => left(waiting) === 1;
    const optional = ({ work }: Waiting) => isEachWanted(work.wanted) && work.ids.length > 1;
    const order = [
      ...chosen.filter(single),
      ...chosen.filter(optional),
      ...chosen.filter((each) => !single(each) && !optional(each)),
    ];
    const shares: Share[] = [];
    let [rows, logits] = [chunk, logitPositions];
    order.forEach((waiting, index) => {
      const { work, done } = waiting;
      let count = Math.min(left(waiting), Math.ceil(rows / (order.length - index)));
      if (work.wanted === 'all') count = Math.min(count, logits);
      // Each of the others gets a share of the room for logits, too.
      if (optional(waiting)) count = Math.min(count, Math.ceil(logits / (order.length - index)));
      const last = count === left(waiting);
      const wanted = work.wanted === 'all' || last || optional(waiting) ? work.wanted : 'none';
      if (wanted !== 'none' && logits === 0) count = 0;
      if (count === 0) return;
      rows -= count;
      const ids = count === work.ids.length ? work.ids : work.ids.slice(done, done + count);
      const part = { pages: work.pages, ids, start: work.start + done, wanted };
      logits -= logitsCount(part);
      shares.push({ waiting, part });
    });
    return shares;
  }

  /** Drops work whose signal has aborted, unless the pass in progress has rows of it. */
  #dropInterrupted(): void {
    for (const waiting of [...this.#waiting]) {
      if (waiting.inFlight || !waiting.work.signal?.aborted) continue;
      this.#end(waiting, () => waiting.reject(new InterruptedError()));
    }
  }

  #refuseAll(error: unknown): void {
    for (const waiting of [...this.#waiting]) this.#end(waiting, () => waiting.reject(error));
  }

  #end(waiting: Waiting, settle: () => void): void {
    const at = this.#waiting.indexOf(waiting);
    if (at < 0) return;
    this.#waiting.splice(at, 1);
    settle();
  }
}
