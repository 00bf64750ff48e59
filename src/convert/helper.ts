/**
 * A thread that helps a conversion. It makes the side files of a GGUF file: the tables of 150,000 tokens take
 * 0.25 s, a fifth of the time for 1 GiB. Afterwards it computes checksums, in the memory that holds the
 * weights: they take a third of the time of the thread that also issues all reads and writes.
 */

import { stat } from 'node:fs/promises';
import { extname } from 'node:path';
import { Worker } from 'node:worker_threads';
import { addressLimit } from '../address-space.ts';
import type { GgufMetadata } from '../checkpoint/gguf/metadata.ts';
import { FlashError, InputError, InterruptedError } from '../errors.ts';
import { availableThreads } from '../kernels/threads/available.ts';
import { threadsWithinOpenFiles } from '../open-files.ts';
import { TextList } from '../text-list.ts';
import { MIB } from '../units.ts';
import { keepYoungGenerationSmall } from '../young-generation.ts';
import {
  type HelperAnswer,
  listBuffers,
  plainMetadata,
  type SideMail,
  type SumMail,
} from './helper-mail.ts';
import type { SideContent } from './side-content.ts';
import type { SideFileMaker } from './side-file-maker.ts';
import type { TensorSums } from './tensor-sums.ts';

/** Fewer bytes are converted before the thread has started. */
const leastBytes = 64 * MIB;
/** Memory of the thread with its code; measured, see docs/LEARNED.md. */
const threadBytes = 24 * MIB;
/**
 * Memory for the tables and their files, for each byte of vocabulary and merges; measured. Pieces of
 * SentencePiece pass through objects.
 */
const bytesPerTextByte = { merges: 12, pieces: 64 } as const;
/**
 * In a smaller budget the side files are made before anything else, on the thread that converts: a heap of
 * its own takes up to 50 MiB more for them.
 */
const leastBudget = 384 * MIB;
/** Files that are open at once while a thread loads its code. */
const moduleFiles = 200;
/** Limits of the thread's heap; most of what it makes are arrays outside of it. */
const resourceLimits = { maxYoungGenerationSizeMb: 8, codeRangeSizeMb: 16 };

/** Only byte-level BPE has merges. */
const mergesKey = 'tokenizer.ggml.merges';

/** Sources need a loader, which a thread does not get from its process on every version of Node. */
const isCompiled = extname(import.meta.url) === '.js';

interface Waiting {
  resolve(answer: HelperAnswer): void;
  reject(error: unknown): void;
}

export class Helper {
  readonly #signal: AbortSignal | undefined;
  #worker: Worker | null = null;
  /** Who waits for answers, in the order of their mail. */
  readonly #waiting: Waiting[] = [];
  #failure: unknown = null;
  /** Bytes that making side files may take; 0 once they are made. */
  #sideBytes = 0;
  #isTaken = false;

  /** @param signal ends the thread; whoever waits for it gets an InterruptedError */
  constructor(signal?: AbortSignal) {
    this.#signal = signal;
  }

  /**
   * Starts the thread if the checkpoint at `path` is a large file: before its header is read, which takes as
   * long as starting.
   * @param budget bytes for the whole process, from the size of the file
   */
  async startForFile(path: string, budget: (fileBytes: number) => number): Promise<void> {
    const found = await stat(path).catch(() => null);
    if (found?.isFile() !== true || budget(found.size) < leastBudget) return;
    this.startFor(found.size);
    this.#isTaken = this.#worker !== null;
  }

  /**
   * Starts the thread if it pays for `bytes` of weights: if there is a second processor, and no limit that
   * the thread might exceed.
   * @param room bytes of memory for the thread
   */
  startFor(bytes: number, room = threadBytes): void {
    if (this.#worker !== null || !isCompiled || bytes < leastBytes || room < threadBytes) return;
    if (availableThreads() < 2 || threadsWithinOpenFiles('', moduleFiles) < 2) return;
    if (addressLimit() === null) this.#worker = this.#start();
  }

  /** An upper bound of the memory that the thread may still take, in bytes. */
  get pendingBytes(): number {
    return this.#worker === null ? 0 : threadBytes + this.#sideBytes;
  }

  /** Whether the thread makes side files, or will make them. */
  get isTaken(): boolean {
    return this.#worker !== null && this.#isTaken;
  }

  /** Whether the thread can compute checksums. */
  get isFree(): boolean {
    return this.#worker !== null && !this.#isTaken;
  }

  /** Makes side files in the thread; null if it does not run. */
  get sideFileMaker(): SideFileMaker | undefined {
    return this.#worker === null ? undefined : this.#makeSideFiles;
  }

  /**
   * Begins the checksums of a file; those of the one before must be finished.
   * @param memory bytes in it are not copied
   * @param blockBytes for each tensor the bytes that one checksum covers
   */
  sums(memory: WebAssembly.Memory, blockBytes: readonly number[]): TensorSums {
    const begun = this.#ask({ memory, blockBytes });
    begun.catch(() => {}); // whoever adds a part sees the error
    return {
      concurrent: true,
      add: async (tensor, part) => {
        const { buffer, byteOffset, length } = part;
        const at = buffer === memory.buffer ? { address: byteOffset, bytes: length } : { part };
        await this.#ask({ tensor, ...at });
      },
      finish: async () => {
        const answer = await this.#ask('finish');
        if (answer === null || !('sums' in answer)) throw new Error('answers are out of order');
        return answer.sums;
      },
    };
  }

  /** Ends the thread, whatever it is doing. */
  async end(): Promise<void> {
    await this.#worker?.terminate();
    this.#worker = null;
  }

  #start(): Worker {
    const worker = new Worker(new URL('./helper-worker.js', import.meta.url), {
      name: 'flashllm conversion',
      resourceLimits,
      // It gets none of this process's options, such as modules to preload.
      env: {},
      argv: [],
      execArgv: [],
      trackUnmanagedFds: false,
    });
    const stop = () => this.#fail(new InterruptedError());
    this.#signal?.addEventListener('abort', stop);
    worker.once('online', keepYoungGenerationSmall);
    worker.on('message', (answer: HelperAnswer) => this.#waiting.shift()?.resolve(answer));
    worker.on('error', (cause) => this.#fail(failure(cause.message, cause)));
    worker.on('exit', () => {
      this.#signal?.removeEventListener('abort', stop);
      this.#fail(failure('it ended'));
    });
    return worker;
  }

  readonly #makeSideFiles: SideFileMaker = (metadata, file) => {
    this.#sideBytes = sideBytes(metadata);
    const plain = plainMetadata(metadata);
    const begun = this.#ask({ metadata: plain, file }, listBuffers(plain));
    begun.catch(() => {}); // whoever waits for the side files sees the error
    return async (config, { bosId, eosIds, vocabSize }) => {
      const answer = await this.#ask({ config, spec: { bosId, eosIds, vocabSize } });
      this.#sideBytes = 0;
      this.#isTaken = false;
      return contentOf(answer);
    };
  };

  #ask(mail: SideMail | SumMail, given: readonly ArrayBuffer[] = []): Promise<HelperAnswer> {
    return new Promise((resolve, reject) => {
      if (this.#failure !== null) return reject(this.#failure);
      this.#waiting.push({ resolve, reject });
      this.#worker?.postMessage(mail, given);
    });
  }

  /** Nobody gets an answer any more; ends the thread. */
  #fail(error: unknown): void {
    this.#failure ??= error;
    for (const { reject } of this.#waiting.splice(0)) reject(this.#failure);
    void this.#worker?.terminate();
  }
}

function failure(message: string, cause?: unknown): FlashError {
  const what = `the thread that helps the conversion failed: ${message}`;
  return new FlashError(what, {}, undefined, { cause });
}

/** @throws InputError when the file has no usable tokenizer */
function contentOf(answer: HelperAnswer): SideContent {
  if (answer !== null && 'refused' in answer) {
    const { message, place, hint } = answer.refused;
    throw new InputError(message, place, hint);
  }
  if (answer === null || !('made' in answer)) throw new Error('answers are out of order');
  const { cache, ...content } = answer.made;
  return { ...content, cache: cache && (() => cache) };
}

/** An upper bound of the memory that making the side files takes. */
function sideBytes(metadata: GgufMetadata): number {
  const lists = [...metadata.values()].filter((value) => value instanceof TextList);
  const bytes = lists.reduce((sum, list) => sum + list.bytes.length, 0);
  return bytesPerTextByte[metadata.has(mergesKey) ? 'merges' : 'pieces'] * bytes;
}
