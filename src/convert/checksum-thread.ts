/**
 * Computes checksums in a thread of its own, over the memory that holds the weights: of the time that a
 * conversion spends on copying, they take a third on the thread that also issues all reads and writes.
 */

import type { Worker } from 'node:worker_threads';
import { FlashError } from '../errors.ts';
import { MIB } from '../units.ts';
import type { ChecksumAnswer, ChecksumMail } from './checksum-worker.ts';
import type { TensorSums } from './tensor-sums.ts';
import { startThread } from './worker-thread.ts';

/** The thread's heap holds little but code. */
const resourceLimits = {
  maxOldGenerationSizeMb: 32,
  maxYoungGenerationSizeMb: 1,
  codeRangeSizeMb: 8,
};

interface Waiting {
  resolve(answer: ChecksumAnswer): void;
  reject(error: unknown): void;
}

export class ChecksumThread {
  /** Memory that the thread may take, in bytes; measured, see docs/LEARNED.md. */
  static readonly residentBytes: number = 12 * MIB;

  readonly #worker: Worker;
  /** Who waits for answers, in the order of their questions. */
  readonly #waiting: Waiting[] = [];
  #failure: FlashError | null = null;

  constructor() {
    this.#worker = startThread('./checksum-worker.js', 'checksums', resourceLimits);
    this.#worker.on('message', (answer: ChecksumAnswer) => this.#waiting.shift()?.resolve(answer));
    this.#worker.on('error', (cause) => this.#fail(cause.message, cause));
    this.#worker.on('exit', () => this.#fail('it ended'));
  }

  /**
   * Begins a file; the one before must be finished.
   * @param memory bytes in it are not copied
   * @param blockBytes for each tensor the bytes that one checksum covers
   */
  file(memory: WebAssembly.Memory, blockBytes: readonly number[]): TensorSums {
    this.#worker.postMessage({ memory, blockBytes } satisfies ChecksumMail);
    return {
      concurrent: true,
      add: async (tensor, part) => {
        const { buffer, byteOffset, length } = part;
        const at = buffer === memory.buffer ? { address: byteOffset, bytes: length } : { part };
        await this.#ask({ tensor, ...at });
      },
      finish: async () => {
        const sums = await this.#ask('finish');
        if (sums === null) throw new Error('answers are out of order');
        return sums;
      },
    };
  }

  /** Ends the thread. */
  async end(): Promise<void> {
    await this.#worker.terminate();
  }

  #ask(mail: ChecksumMail): Promise<ChecksumAnswer> {
    return new Promise((resolve, reject) => {
      if (this.#failure !== null) return reject(this.#failure);
      this.#waiting.push({ resolve, reject });
      this.#worker.postMessage(mail);
    });
  }

  #fail(message: string, cause?: unknown): void {
    const what = `the thread that computes checksums failed: ${message}`;
    this.#failure ??= new FlashError(what, {}, undefined, { cause });
    for (const { reject } of this.#waiting.splice(0)) reject(this.#failure);
  }
}
