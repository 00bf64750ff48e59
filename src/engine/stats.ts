/** Where the time and the bytes of a run went, in the paper's columns. */

import type { ModelFiles } from '../flash/model-files.ts';
import type { MemoryPlan } from '../memory/plan.ts';
import { peakResidentBytes } from '../memory/process.ts';
import type { Weights } from '../memory/weights.ts';
import type { Decoder } from './decoder.ts';

/** Bytes, milliseconds and shares; the keys are a contract with programs that read them. */
export interface RunStats {
  readonly promptTokens: number;
  readonly tokens: number;
  readonly prefillMs: number;
  readonly decodeMs: number;
  readonly tokensPerSecond: number;
  /** Time spent waiting for flash, not hidden behind computing. */
  readonly ioMs: number;
  /** Time spent managing what lies in memory: checks of what was read. */
  readonly memoryMs: number;
  readonly computeMs: number;
  readonly flashBytes: number;
  readonly flashReads: number;
  readonly readSizeHistogram: Readonly<Record<string, number>>;
  /** Bytes per second while at least one read was in flight. */
  readonly flashThroughput: number;
  /** Share of the weight bytes used that were already in DRAM. */
  readonly cacheHitRate: number;
  /** Share of FFN activations that were zero. */
  readonly ffnSparsity: number;
  readonly dramBudget: number;
  readonly peakRss: number;
  readonly directIo: boolean;
  readonly threads: number;
}

interface Sources {
  readonly files: ModelFiles;
  readonly plan: MemoryPlan;
  readonly weights: Weights;
  readonly decoder: Decoder;
}

export class StatsRecorder {
  readonly #sources: Sources;
  #prefillMs = 0;
  #decodeMs = 0;
  #decodedTokens = 0;
  /** What loading had taken before the first forward pass. */
  readonly #checkMsBefore: number;

  constructor(sources: Sources) {
    this.#sources = sources;
    this.#checkMsBefore = sources.files.checkMs;
  }

  /** Times the processing of a prompt. */
  async prefill<T>(work: () => Promise<T>): Promise<T> {
    const started = performance.now();
    try {
      return await work();
    } finally {
      this.#prefillMs += performance.now() - started;
    }
  }

  /** Times the making of one token. */
  async decode<T>(work: () => Promise<T>): Promise<T> {
    const started = performance.now();
    try {
      const result = await work();
      this.#decodedTokens++;
      return result;
    } finally {
      this.#decodeMs += performance.now() - started;
    }
  }

  /** The figures so far. `tokens` counts generated ones, the first of which prefill makes. */
  snapshot(promptTokens: number, tokens: number): RunStats {
    const { files, plan, weights, decoder } = this.#sources;
    const io = files.scheduler.stats.snapshot();
    const ioMs = weights.waitMs;
    const memoryMs = files.checkMs - this.#checkMsBefore;
    const { resident, streamed } = weights.bytesUsed;
    return {
      promptTokens,
      tokens,
      prefillMs: this.#prefillMs,
      decodeMs: this.#decodeMs,
      tokensPerSecond: this.#decodeMs === 0 ? 0 : (this.#decodedTokens * 1000) / this.#decodeMs,
      ioMs,
      memoryMs,
      computeMs: Math.max(0, this.#prefillMs + this.#decodeMs - ioMs - memoryMs),
      flashBytes: io.bytes,
      flashReads: io.reads,
      readSizeHistogram: io.histogram,
      flashThroughput: io.busyMs === 0 ? 0 : (io.bytes * 1000) / io.busyMs,
      cacheHitRate: resident + streamed === 0 ? 1 : resident / (resident + streamed),
      ffnSparsity: decoder.ffnSparsity,
      dramBudget: plan.dramBudget,
      peakRss: peakResidentBytes(),
      directIo: files.directIo,
      threads: plan.threads,
    };
  }
}
