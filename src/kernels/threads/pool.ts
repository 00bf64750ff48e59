/**
 * Compute threads on shared WebAssembly memories. The calling thread is one of them and takes its
 * part of every job, so that `threads` = 1 needs no worker, and a kernel call returns when the
 * result is there, as without threads. Results are the same to the bit for any number of threads.
 *
 *     const threads = await ComputeThreads.start(availableThreads());
 *     const kernels = await threads.kernels(memory, { scratch });
 *     ...
 *     await threads.close();
 */

import { setFlagsFromString } from 'node:v8';
import { Worker } from 'node:worker_threads';
import { FlashError } from '../../errors.ts';
import { threadsWithinOpenFiles, tooManyThreads } from '../../open-files.ts';
import { alignUp, MIB } from '../../units.ts';
import { bindKernels, instantiateCore, type KernelFunction } from '../bind.ts';
import { attentionScratch, type Kernels } from '../kernels.ts';
import { compileCore } from '../module.ts';
import type { Address } from '../signature.ts';
import { scratchBytes } from '../weight-kernels.ts';
import {
  type Answer,
  type Control,
  drain,
  layout,
  type Mail,
  serve,
  spin,
  type WorkerStart,
} from './drain.ts';
import { kernelSplits } from './kernel-splits.ts';
import type { Split } from './split.ts';

/** Where threads other than the calling one keep what they need for themselves. */
export interface ThreadScratch {
  readonly address: Address;
  /** Of `threadScratchBytes`; there are `threads` - 1 such areas, one after the other. */
  readonly bytesPerThread: number;
}

export interface KernelsOptions {
  /** From `compileCore`; compiled now if it is left out. */
  readonly module?: WebAssembly.Module;
  /** Without it, attention and kernels of quantised weights are not split, others are slower. */
  readonly scratch?: ThreadScratch;
  /** The least work of a share; smaller in tests. */
  readonly shareWork?: number;
}

/**
 * Bytes per thread with which every call up to these sizes can be split. Calls that need more run on
 * the calling thread alone, or, where scratch is a matter of speed only, without it on the others.
 * @param sizes.cols the most columns of a matrix
 * @param sizes.context the most positions in the KV cache
 */
export function threadScratchBytes(sizes: { cols: number; context: number }): number {
  const scores = 4 * attentionScratch(sizes.context);
  return alignUp(Math.max(scratchBytes(sizes.cols), scores), 64);
}

/** Later versions of Node keep more for each worker. */
const lightThreads = Number(process.versions.node.split('.')[0]) < 22;

/**
 * Resident memory that `threads` threads take at most, outside of the shared memories. Measured with
 * 2, 4 and 8 threads after much work: 10, 25 and 52 MiB on Node 20, 21, 42 and 80 on Node 24. Of
 * that, all but 2 (Node 20) to 8 MiB is there as soon as the threads have started.
 */
export function threadResidentBytes(threads: number): number {
  if (threads === 1) return 0;
  const [first, each] = lightThreads ? [4, 8] : [12, 11];
  return (first + each * (threads - 1)) * MIB;
}

/**
 * A share is worth at least this (see SplitRow.work): 5 us or more. Measured with two threads: a job
 * of two such shares takes 6.6 us instead of 10.4.
 */
const defaultShareWork = 32768;
/** Waking a thread takes the caller 20 us: then shares are worth this many times as much. */
const wakingFactor = 4;
/** Shares of a large job for each thread: the fewer, the longer the slowest is waited for. */
const sharesPerThread = 8;

/**
 * For a worker's heap, which holds a few functions; with 4 MiB, Node 20 does not start it. Left alone,
 * V8 reserves 512 MiB of addresses for the code of each.
 */
const resourceLimits = {
  maxOldGenerationSizeMb: 16,
  maxYoungGenerationSizeMb: 1,
  codeRangeSizeMb: 8,
};

/**
 * When no share was finished for so long, its thread is given up. Counted in slices, so that a
 * process that was stopped meanwhile does not conclude that its threads are dead.
 */
const patience = { sliceMs: 1000, slices: 120 };

const workerText = `'use strict';
const { parentPort, receiveMessageOnPort, workerData } = require('node:worker_threads');
(${serve})(workerData, parentPort, receiveMessageOnPort, ${drain}, ${spin});`;

export class ComputeThreads {
  /** How many threads compute, the calling one included. */
  readonly threads: number;
  /** All but the calling one. */
  readonly workers: readonly Worker[];
  readonly #control: Control = createControl();
  readonly #functions: KernelFunction[] = [];
  readonly #values = new Float64Array(layout.parameters);
  /** Why no more jobs can be done. */
  #failure: Error | undefined;
  #closed: Promise<void> | undefined;

  private constructor(threads: number) {
    this.threads = threads;
    this.workers = Array.from({ length: threads - 1 }, (_, i) => this.#startWorker(i + 1));
  }

  /** Starts the workers, which takes about 50 ms each; see `threadResidentBytes`. */
  static async start(threads: number): Promise<ComputeThreads> {
    if (!Number.isInteger(threads) || threads < 1 || threads > layout.maxShares) {
      throw new RangeError(`${threads} threads: a number from 1 to ${layout.maxShares} is needed`);
    }
    if (threads > 1 && threads > threadsWithinOpenFiles('', 0)) throw tooManyThreads(threads);
    const pool = new ComputeThreads(threads);
    try {
      await pool.#answers();
      if (threads > 1) keepYoungGenerationSmall();
      return pool;
    } catch (error) {
      await pool.close();
      throw error;
    }
  }

  /** The kernels over `memory`, on all threads. For the thread that started these. */
  async kernels(memory: WebAssembly.Memory, options: KernelsOptions = {}): Promise<Kernels> {
    const module = options.module ?? (await compileCore());
    const functions = instantiateCore(module, memory);
    if (this.workers.length === 0) return bindKernels(functions);
    this.#check();
    const splits = kernelSplits();
    const names = Object.keys(functions).filter((name) => splits.has(name));
    const answers = this.#answers();
    this.#send({ module, memory, names });
    await answers;
    const threaded = Object.entries(functions).map(([name, kernel]) => {
      const split = splits.get(name);
      return [name, split === undefined ? kernel : this.#threaded(kernel, split, options)] as const;
    });
    return bindKernels(Object.fromEntries(threaded));
  }

  /** Ends the workers. Kernels of this pool may not be called any more. */
  close(): Promise<void> {
    this.#closed ??= this.#end();
    return this.#closed;
  }

  async #end(): Promise<void> {
    this.#failure ??= new Error('the compute threads are closed');
    const exits = this.workers
      // An ended worker has the id -1.
      .filter(({ threadId }) => threadId !== -1)
      .map((worker) => {
        worker.ref();
        return new Promise((resolve) => worker.once('exit', resolve));
      });
    this.#send(null);
    await Promise.all(exits);
  }

  #startWorker(thread: number): Worker {
    const workerData: WorkerStart = { control: this.#control, thread };
    const worker = new Worker(workerText, {
      eval: true,
      name: 'flashllm compute',
      workerData,
      resourceLimits,
      // Nothing of what this process was started with is for workers, such as modules to preload.
      env: {},
      argv: [],
      execArgv: [],
      trackUnmanagedFds: false,
    });
    worker.on('error', (cause) => this.#fail('a compute thread failed', cause));
    worker.on('exit', () => this.#fail('a compute thread ended'));
    return worker;
  }

  #fail(message: string, cause?: unknown): void {
    this.#failure ??= new FlashError(
      cause instanceof Error ? `${message}: ${cause.message}` : message,
      {},
      undefined,
      { cause },
    );
  }

  #check(): void {
    // A new error each time, for the stack of whoever called.
    if (this.#failure !== undefined) {
      throw new FlashError(this.#failure.message, {}, undefined, { cause: this.#failure });
    }
  }

  /** Waits for the next answer of every worker; meanwhile they keep the process alive. */
  async #answers(): Promise<void> {
    const answers = this.workers.map(
      (worker) =>
        new Promise<void>((resolve, reject) => {
          worker.ref();
          worker.once('message', (answer: Answer) => {
            worker.unref();
            if (answer !== null) this.#fail('a compute thread failed', new Error(answer));
            resolve();
          });
          worker.once('exit', () => resolve());
          worker.once('error', reject);
        }),
    );
    await Promise.all(answers);
    this.#check();
  }

  #send(mail: Mail): void {
    const { words } = this.#control;
    for (const worker of this.workers) worker.postMessage(mail);
    Atomics.add(words, layout.mail, 1);
    this.#publish(0);
  }

  /** A new ticket, with `shares` to take. */
  #publish(shares: number): void {
    const { words } = this.#control;
    const job = (Atomics.load(words, layout.ticket) >>> 8) + 1;
    Atomics.store(words, layout.ticket, (job << 8) | shares);
    if (Atomics.load(words, layout.sleepers) > 0) Atomics.notify(words, layout.ticket);
  }

  /** `kernel` on all threads, in calls that are worth it. */
  #threaded(kernel: KernelFunction, split: Split, options: KernelsOptions): KernelFunction {
    const { scratch, shareWork = defaultShareWork } = options;
    const number = this.#functions.push(kernel) - 1;
    return (...values) => {
      split.values = values;
      const begin = split.begin < 0 ? 0 : (values[split.begin] ?? 0);
      const total = (values[split.end] ?? 0) - begin;
      const granule = split.granule();
      const granules = Math.ceil(total / granule);
      const wanted = Math.min(
        granules,
        this.#shares(split.work() / shareWork, split.sharesPerThread()),
      );
      if (!(wanted > 1)) return kernel(...values);

      const own = split.scratch;
      let [scratchIndex, scratchAddress, scratchStride] = [-1, 0, 0];
      if (own !== undefined && (!own.optional || (values[own.index] ?? 0) !== 0)) {
        scratchIndex = own.index;
        if (scratch !== undefined && own.bytes() <= scratch.bytesPerThread) {
          scratchAddress = scratch.address;
          scratchStride = scratch.bytesPerThread;
        } else if (!own.optional) {
          return kernel(...values);
        }
      }
      this.#check();
      const step = Math.ceil(granules / wanted) * granule;
      const shares = Math.ceil(total / step);
      const { job } = this.#control;
      job[layout.kernel] = number;
      job[layout.shares] = shares;
      job[layout.total] = total;
      job[layout.step] = step;
      job[layout.begin] = split.begin;
      job[layout.end] = split.end;
      job[layout.scratch] = scratchIndex;
      job[layout.scratchAddress] = scratchAddress;
      job[layout.scratchStride] = scratchStride;
      for (let i = 0; i < split.parameters; i++) {
        job[layout.values + i] = values[i] ?? 0;
        job[layout.strides + i] = 0;
      }
      for (const { index, stride } of split.moves) job[layout.strides + index] = stride();
      this.#run(shares);
      return split.result?.(this.#control.results, shares, step);
    };
  }

  /**
   * Into how many shares a job of `worth` times the least share is cut: the same for each thread, and at
   * most `perThread`.
   */
  #shares(worth: number, perThread: number): number {
    const asleep = Atomics.load(this.#control.words, layout.sleepers) > 0;
    const most = Math.floor(asleep ? worth / wakingFactor : worth);
    if (most < this.threads) return most;
    const each = Math.min(sharesPerThread, perThread, Math.floor(most / this.threads));
    return Math.min(this.threads * each, layout.maxShares);
  }

  /** Has the job that was written done, and takes part in it. */
  #run(shares: number): void {
    const { words, text } = this.#control;
    Atomics.store(words, layout.pending, shares);
    this.#publish(shares);
    drain(this.#control, this.#functions, 0, this.#values);
    this.#wait();
    if (Atomics.load(words, layout.failed) !== 0) {
      const message = String.fromCharCode(...text.subarray(0, words[layout.textLength]));
      Atomics.store(words, layout.failed, 0);
      throw new FlashError(`a kernel failed: ${message}`);
    }
  }

  /** Until all shares are finished: those that others have taken. */
  #wait(): void {
    const { words } = this.#control;
    for (let slice = 0; ; slice++) {
      let pending = Atomics.load(words, layout.pending);
      // A share finished begins the time anew: others are on their way.
      while (pending !== 0) {
        const now = spin(this.#control, layout.pending, pending);
        if (now === pending) break;
        pending = now;
      }
      if (pending === 0) return;
      if (slice === patience.slices) {
        this.#fail('a compute thread does not answer');
        this.#check();
      }
      Atomics.store(words, layout.callerAsleep, 1);
      Atomics.wait(words, layout.pending, pending, patience.sliceMs);
      Atomics.store(words, layout.callerAsleep, 0);
    }
  }
}

/**
 * Keeps the young generation of this process's heap at the size it has. The launcher does so at its
 * start (bin/flashllm.cjs), but V8 of Node 20 and 22 sets the flag back for the whole process whenever
 * a worker's heap is made: then it grows to 32 MiB, which no plan counts.
 */
function keepYoungGenerationSmall(): void {
  setFlagsFromString('--semi-space-growth-factor=1');
}

function createControl(): Control {
  const { wordCount, jobCount, maxShares, maxText } = layout;
  const sizes = { words: 4 * wordCount, job: 8 * jobCount, results: 8 * maxShares };
  const buffer = new SharedArrayBuffer(sizes.words + sizes.job + sizes.results + 2 * maxText);
  return {
    at: layout,
    words: new Int32Array(buffer, 0, wordCount),
    job: new Float64Array(buffer, sizes.words, jobCount),
    results: new Float64Array(buffer, sizes.words + sizes.job, maxShares),
    text: new Uint16Array(buffer, sizes.words + sizes.job + sizes.results, maxText),
  };
}
