/**
 * Compute threads on shared WebAssembly memories. The calling thread is one of them and takes its part of
 * every job, so that `threads` = 1 needs no worker, and a kernel call returns when the result is complete, as
 * without threads. Results are the same to the bit for any number of threads.
 *
 *     const threads = await ComputeThreads.start(availableThreads());
 *     const kernels = await threads.kernels(memory, { scratch });
 *     ...
 *     await threads.close();
 */

import { Worker } from 'node:worker_threads';
import { FlashError } from '../../errors.ts';
import { threadsWithinOpenFiles, tooManyThreads } from '../../open-files.ts';
import { alignUp, MIB } from '../../units.ts';
import { keepYoungGenerationSmall } from '../../young-generation.ts';
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

/** Scratch memory of threads other than the calling one. */
export interface ThreadScratch {
  readonly address: Address;
  /**
   * Bytes of one area, from `threadScratchBytes`; there are `threads` - 1 such areas, one after the other.
   */
  readonly bytesPerThread: number;
}

export interface KernelsOptions {
  /** From `compileCore`; compiled at the start if omitted. */
  readonly module?: WebAssembly.Module;
  /** Without it, attention and kernels of quantised weights are not split, and other kernels are slower. */
  readonly scratch?: ThreadScratch;
  /** The least work of a share; smaller in tests. */
  readonly shareWork?: number;
}

/**
 * Bytes per thread with which every call up to these sizes can be split. Calls that need more run on the
 * calling thread alone, or, where scratch only affects speed, without it on the other threads.
 * @param sizes.cols the most columns of a matrix
 * @param sizes.context the most positions in the KV cache
 */
export function threadScratchBytes(sizes: { cols: number; context: number }): number {
  const scores = 4 * attentionScratch(sizes.context);
  return alignUp(Math.max(scratchBytes(sizes.cols), scores), 64);
}

/** Later versions of Node use more memory for each worker. */
const lightThreads = Number(process.versions.node.split('.')[0]) < 22;

/**
 * The most resident memory that `threads` threads take outside the shared memories. Measured with 2, 4 and 8
 * threads after much work: 10, 25 and 52 MiB on Node 20; 21, 42 and 80 MiB on Node 24. All but 2 (Node 20) to
 * 8 MiB of it is taken as soon as the threads have started.
 */
export function threadResidentBytes(threads: number): number {
  if (threads === 1) return 0;
  const [first, each] = lightThreads ? [4, 8] : [12, 11];
  return (first + each * (threads - 1)) * MIB;
}

/**
 * The least work of a share (see SplitRow.work): 5 us or more. Measured with two threads: a job of two such
 * shares takes 6.6 us instead of 10.4.
 */
const defaultShareWork = 32768;
/**
 * Waking a thread takes the caller 20 us: in that case the least work of a share is this many times as large.
 */
const wakingFactor = 4;
/**
 * Shares of a large job for each thread: the fewer there are, the longer the caller waits for the slowest
 * thread.
 */
const sharesPerThread = 8;

/**
 * Limits of a worker's heap, which holds a few functions; with 4 MiB, Node 20 does not start the worker.
 * Without limits, V8 reserves 512 MiB of address space for each worker's code.
 */
const resourceLimits = {
  maxOldGenerationSizeMb: 16,
  maxYoungGenerationSizeMb: 1,
  codeRangeSizeMb: 8,
};

/**
 * If no share was finished for this long, the pool gives up. The time is counted in slices, so that a process
 * that was stopped meanwhile does not conclude that its threads are dead.
 */
const patience = { sliceMs: 1000, slices: 120 };

const workerText = `'use strict';
const { parentPort, receiveMessageOnPort, workerData } = require('node:worker_threads');
(${serve})(workerData, parentPort, receiveMessageOnPort, ${drain}, ${spin});`;

export class ComputeThreads {
  /** The number of threads that compute, including the calling one. */
  readonly threads: number;
  /** All threads except the calling one. */
  readonly workers: readonly Worker[];
  readonly #control: Control = createControl();
  readonly #functions: KernelFunction[] = [];
  readonly #values = new Float64Array(layout.parameters);
  /** The error after which the pool accepts no jobs. */
  #failure: Error | undefined;
  #closed: Promise<void> | undefined;

  private constructor(threads: number) {
    this.threads = threads;
    this.workers = Array.from({ length: threads - 1 }, (_, i) => this.#startWorker(i + 1));
  }

  /** Starts the workers, which takes about 50 ms each; see `threadResidentBytes`. */
  static async start(threads: number): Promise<ComputeThreads> {
    if (!Number.isInteger(threads) || threads < 1 || threads > layout.maxShares) {
      throw new RangeError(`threads must be from 1 to ${layout.maxShares}, not ${threads}`);
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

  /** The kernels over `memory`, on all threads. Only the thread that started the pool may call them. */
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

  /** Ends the workers. Kernels of this pool must not be called afterwards. */
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
      // Workers get none of this process's options, such as modules to preload.
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
    // A new error each time, so that its stack is that of the caller.
    if (this.#failure !== undefined) {
      throw new FlashError(this.#failure.message, {}, undefined, { cause: this.#failure });
    }
  }

  /** Waits for the next answer of every worker; meanwhile the workers keep the process alive. */
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

  /** Issues a new ticket with `shares` to take. */
  #publish(shares: number): void {
    const { words } = this.#control;
    const job = (Atomics.load(words, layout.ticket) >>> 8) + 1;
    Atomics.store(words, layout.ticket, (job << 8) | shares);
    if (Atomics.load(words, layout.sleepers) > 0) Atomics.notify(words, layout.ticket);
  }

  /** `kernel` on all threads, for calls with enough work. */
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
   * The number of shares for a job of `worth` times the least work: the same number for each thread, at most
   * `perThread`.
   */
  #shares(worth: number, perThread: number): number {
    const asleep = Atomics.load(this.#control.words, layout.sleepers) > 0;
    const most = Math.floor(asleep ? worth / wakingFactor : worth);
    if (most < this.threads) return most;
    const each = Math.min(sharesPerThread, perThread, Math.floor(most / this.threads));
    return Math.min(this.threads * each, layout.maxShares);
  }

  /** Runs the job in the control block, and takes part in it. */
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

  /** Waits until the shares that other threads have taken are finished. */
  #wait(): void {
    const { words } = this.#control;
    for (let slice = 0; ; slice++) {
      let pending = Atomics.load(words, layout.pending);
      // Each finished share restarts the time limit: the threads are alive.
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
