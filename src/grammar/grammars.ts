/**
 * Grammars that constrain answers. The engine is loaded on first use, into a thread of its own; if a grammar
 * makes it fail, it is loaded again, and the other answers continue.
 */

import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import { Worker } from 'node:worker_threads';
import { FlashError, InputError } from '../errors.ts';
import { charactersOf } from '../tokenizer/pipeline/byte-level.ts';
import type { Tokenizer } from '../tokenizer/tokenizer.ts';
import { MIB } from '../units.ts';
import type { GrammarFormat } from './format.ts';
import { type GrammarAnswer, type GrammarRequest, grammarWorker } from './worker.ts';

/** Constrains one answer to a grammar. */
export interface Constraint {
  /** Which tokens may come next: bit i % 32 of word i / 32 of token id i. */
  mask(): Promise<Int32Array>;
  /** Accepts a token, which the mask must allow. */
  advance(token: number): void;
  close(): void;
}

/** A grammar that is not supported or has failed. */
export class GrammarError extends InputError {}

/** Memory of the thread (its code, the library, V8's data for both), and of each token's text. */
const threadBytes = 16 * MIB;
const textBytes = 128;
/** The engine's memory before it has a vocabulary. */
const emptyBytes = 28 * MIB;
/** The engine's memory for each token: vocabulary and four grammars of 152,000 tokens take 23 MiB. */
const bytesPerToken = 256;

/**
 * The most memory of the loaded engine. Measured with 40 schemas: 33 MiB with 2,048 tokens,
 * 96 MiB with 152,000.
 */
export function grammarBytes(vocabSize: number): number {
  return threadBytes + textBytes * vocabSize + engineBytes(vocabSize);
}

function engineBytes(vocabSize: number): number {
  return emptyBytes + bytesPerToken * vocabSize;
}

/** Time limit for one answer of the engine: a grammar takes about a second for 150,000 tokens. */
const patienceMs = 30_000;

const workerText = `'use strict';
const { parentPort, workerData } = require('node:worker_threads');
const __name = (value) => value;
(${grammarWorker})(workerData, parentPort, require, (module) => import(module));`;

interface Pending {
  readonly resolve: (mask: Int32Array) => void;
  readonly reject: (error: Error) => void;
}

export class Grammars {
  readonly #tokenizer: Tokenizer;
  readonly #vocabSize: number;
  #thread: GrammarThread | null = null;

  /** @param vocabSize number of logits; some may have no token */
  constructor(tokenizer: Tokenizer, vocabSize: number) {
    this.#tokenizer = tokenizer;
    this.#vocabSize = vocabSize;
  }

  /**
   * Begins an answer. The only special tokens allowed are those that end the text.
   * @throws GrammarError when the engine refuses the grammar
   */
  async open(format: GrammarFormat): Promise<Constraint> {
    if (this.#tokenizer.eosIds.length === 0) {
      throw new GrammarError('the model has no end-of-sequence token, so a grammar can never end');
    }
    const constraint = new ThreadConstraint(() => this.#running(), format);
    await constraint.mask();
    return constraint;
  }

  /** Ends the thread. */
  async close(): Promise<void> {
    await this.#thread?.end(new FlashError('the grammar engine was closed'));
    this.#thread = null;
  }

  #running(): GrammarThread {
    if (this.#thread === null || this.#thread.ended) {
      // The memory allows one engine only.
      const gone = this.#thread?.gone ?? Promise.resolve();
      this.#thread = new GrammarThread(this.#tokenizer, this.#vocabSize, gone);
    }
    return this.#thread;
  }
}

/** One run of the engine, from its start to its end. */
class GrammarThread {
  ended = false;
  /** Resolves when an ended engine has freed its memory. */
  gone: Promise<unknown> = Promise.resolve();
  #worker: Worker | null = null;
  /** Messages to send to the worker once it has started. */
  readonly #unsent: GrammarRequest[] = [];
  /** Pending requests, in the order of their answers. */
  readonly #pending = new Map<number, Pending>();
  #timer: NodeJS.Timeout | undefined;
  #requests = 0;

  /** @param free resolves when there is memory for the engine */
  constructor(tokenizer: Tokenizer, vocabSize: number, free: Promise<unknown>) {
    void free.then(() => {
      if (!this.ended) this.#start(tokenizer, vocabSize);
    });
  }

  #start(tokenizer: Tokenizer, vocabSize: number): void {
    const tokens = Array.from({ length: vocabSize }, (_, id) =>
      tokenizer.isSilent(id, { skipSpecial: true }) ? '' : charactersOf(tokenizer.bytesOf(id)),
    );
    const { resolve } = createRequire(import.meta.url);
    const worker = new Worker(workerText, {
      eval: true,
      name: 'flashllm grammar',
      workerData: {
        module: pathToFileURL(resolve('@mlc-ai/web-xgrammar')).href,
        ...{ tokens, vocabSize, endIds: tokenizer.eosIds },
        memoryBytes: engineBytes(vocabSize),
      },
      env: {},
      argv: [],
      execArgv: [],
    });
    worker.unref();
    worker.on('message', (answer: GrammarAnswer) => this.#hear(answer));
    worker.on('error', (error) => void this.end(error));
    this.#worker = worker;
    for (const request of this.#unsent.splice(0)) worker.postMessage(request);
  }

  #send(request: GrammarRequest): void {
    if (this.#worker === null) this.#unsent.push(request);
    else this.#worker.postMessage(request);
  }

  /** The mask that answers a request. @throws GrammarError; the error that ended the thread */
  ask(request: Omit<GrammarRequest, 'id'>, id = this.next()): Promise<Int32Array> {
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { resolve, reject });
      if (this.#pending.size === 1) this.#watch();
      this.#send({ id, ...request } as GrammarRequest);
    });
  }

  /** Starts the time limit for the next answer. */
  #watch(): void {
    clearTimeout(this.#timer);
    if (this.#pending.size === 0) return;
    const late = new GrammarError(
      `the grammar engine did not answer within ${patienceMs / 1000} s`,
    );
    this.#timer = setTimeout(() => void this.end(late), patienceMs);
  }

  /** Tells the engine that a matcher is no longer needed. */
  forget(matcher: number): void {
    if (!this.ended) this.#send({ id: this.next(), close: matcher });
  }

  next(): number {
    return this.#requests++;
  }

  /** Ends the thread because of the oldest request; the other requests may try again. */
  async end(reason: Error): Promise<void> {
    this.ended = true;
    clearTimeout(this.#timer);
    const [oldest, ...others] = this.#pending.values();
    this.#pending.clear();
    oldest?.reject(reason);
    for (const { reject } of others) reject(new ThreadEnded());
    this.gone = Promise.resolve(this.#worker?.terminate());
    await this.gone;
  }

  #hear(answer: GrammarAnswer): void {
    const waiting = this.#pending.get(answer.id);
    if (waiting === undefined) return;
    this.#pending.delete(answer.id);
    this.#watch();
    if ('mask' in answer) {
      waiting.resolve(answer.mask);
      return;
    }
    // After a failure the engine may fail at any request: the others are tried again.
    waiting.reject(
      answer.first
        ? new GrammarError(`the grammar was refused: ${answer.refused}`)
        : new ThreadEnded(),
    );
    if (!answer.first || !answer.clean) void this.end(new ThreadEnded());
  }
}

/** The thread was ended because of another request. */
class ThreadEnded extends Error {}

class ThreadConstraint implements Constraint {
  readonly #running: () => GrammarThread;
  readonly #format: GrammarFormat;
  readonly #tokens: number[] = [];
  #place: { readonly thread: GrammarThread; readonly matcher: number } | null = null;
  #mask: Promise<Int32Array> | null = null;

  constructor(running: () => GrammarThread, format: GrammarFormat) {
    this.#running = running;
    this.#format = format;
  }

  async mask(): Promise<Int32Array> {
    for (;;) {
      this.#mask ??= this.#open();
      try {
        return await this.#mask;
      } catch (error) {
        this.#mask = null;
        if (!(error instanceof ThreadEnded)) throw error;
      }
    }
  }

  advance(token: number): void {
    this.#tokens.push(token);
    const place = this.#place;
    this.#mask =
      place === null || place.thread.ended
        ? this.#open()
        : place.thread.ask({ advance: token, matcher: place.matcher });
    // Whoever asks for the mask gets the error; the text may end before that.
    this.#mask.catch(() => {});
  }

  close(): void {
    this.#place?.thread.forget(this.#place.matcher);
    this.#place = null;
  }

  /** Begins, or begins again with the tokens so far. */
  #open(): Promise<Int32Array> {
    const thread = this.#running();
    const matcher = thread.next();
    this.#place = { thread, matcher };
    return thread.ask({ open: this.#format, after: [...this.#tokens] }, matcher);
  }
}
