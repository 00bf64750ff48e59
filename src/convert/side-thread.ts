/**
 * Makes the side files of a GGUF file in a thread of its own, while the weights are copied: the tables of a
 * vocabulary of 150,000 tokens take 0.25 s, a fifth of a conversion of 1 GiB. The thread is started before
 * the file is read, as loading its code takes as long as reading the header.
 */

import type { Worker } from 'node:worker_threads';
import type { GgufMetadata } from '../checkpoint/gguf/metadata.ts';
import { FlashError, InputError, InterruptedError } from '../errors.ts';
import { TextList } from '../text-list.ts';
import { MIB } from '../units.ts';
import type { SideContent } from './side-content.ts';
import type { SideFileMaker } from './side-file-maker.ts';
import { listBuffers, plainMetadata, type SideAnswer, type SideMail } from './side-mail.ts';
import { startThread } from './worker-thread.ts';

/** Memory of the thread with its code; measured, see docs/LEARNED.md. */
const threadBytes = 24 * MIB;
/** Memory for the tables and their files, for each byte of the vocabulary and the merges; measured. */
const bytesPerTextByte = 8;

/** Limits of the thread's heap; most of what it makes are arrays outside of it. */
const resourceLimits = { maxYoungGenerationSizeMb: 8, codeRangeSizeMb: 16 };

export class SideThread {
  readonly #worker: Worker;
  readonly #answer: Promise<SideAnswer>;
  #pendingBytes = threadBytes;

  /** @param signal ends the thread, and whoever waits for it gets an InterruptedError */
  constructor(signal: AbortSignal | undefined) {
    const worker = startThread('./side-worker.js', 'side files', resourceLimits);
    const stop = () => void this.end();
    signal?.addEventListener('abort', stop);
    this.#worker = worker;
    this.#answer = new Promise<SideAnswer>((resolve, reject) => {
      worker.once('message', resolve);
      worker.once('error', (cause) => reject(failure(cause.message, cause)));
      worker.once('exit', () => {
        signal?.removeEventListener('abort', stop);
        reject(signal?.aborted ? new InterruptedError() : failure('it ended'));
      });
    });
    this.#answer.catch(() => {}); // whoever waits for the side files sees the error
  }

  /** An upper bound of the memory that the thread may still take, in bytes. */
  get pendingBytes(): number {
    return this.#pendingBytes;
  }

  /** Makes the side files in the thread. */
  readonly make: SideFileMaker = (metadata, file) => {
    this.#pendingBytes = threadBytes + bytesPerTextByte * textBytes(metadata);
    const plain = plainMetadata(metadata);
    this.#send({ metadata: plain, file }, listBuffers(plain));
    return async (config, { bosId, eosIds, vocabSize }) => {
      this.#send({ config, spec: { bosId, eosIds, vocabSize } });
      const content = contentOf(await this.#answer);
      this.#pendingBytes = 0;
      return content;
    };
  };

  /** Ends the thread, whatever it is doing. */
  async end(): Promise<void> {
    await this.#worker.terminate();
  }

  #send(mail: SideMail, given: readonly ArrayBuffer[] = []): void {
    this.#worker.postMessage(mail, given);
  }
}

function failure(message: string, cause?: unknown): FlashError {
  const what = `the thread that makes the tokenizer failed: ${message}`;
  return new FlashError(what, {}, undefined, { cause });
}

/** @throws InputError when the file has no usable tokenizer */
function contentOf(answer: SideAnswer): SideContent {
  if ('failed' in answer) throw new Error(answer.failed);
  if ('refused' in answer) {
    const { message, place, hint } = answer.refused;
    throw new InputError(message, place, hint);
  }
  const { cache, ...content } = answer.made;
  return { ...content, cache: cache && (() => cache) };
}

function textBytes(metadata: GgufMetadata): number {
  const lists = [...metadata.values()].filter((value) => value instanceof TextList);
  return lists.reduce((sum, { bytes }) => sum + bytes.length, 0);
}
