/** Where the time and the bytes of a run went, in the paper's columns. */

import type { IoSnapshot } from '../flash/io-stats.ts';
import type { ModelFiles } from '../flash/model-files.ts';
import type { MemoryPlan } from '../plan/memory-plan.ts';
import { peakResidentBytes } from '../plan/process.ts';
import type { ExpertStores } from '../residency/expert-stores.ts';
import type { Weights } from '../residency/weights.ts';
import type { SparseFfn } from './sparse-ffn.ts';
import type { DraftFigures } from './speculation/proposal.ts';
import type { Transformer } from './transformer.ts';

/** Bytes, milliseconds and shares; the keys are a contract with programs that read them. */
export interface RunStats {
  readonly promptTokens: number;
  readonly tokens: number;
  readonly prefillMs: number;
  readonly decodeMs: number;
  readonly tokensPerSecond: number;
  /** Time spent waiting for flash, not hidden behind computing. */
  readonly ioMs: number;
  /** Time spent on memory management: checksums of data that was read, and book-keeping of neurons. */
  readonly memoryMs: number;
  readonly computeMs: number;
  readonly flashBytes: number;
  readonly flashReads: number;
  readonly readSizeHistogram: Readonly<Record<string, number>>;
  /** Bytes per second while at least one read was in flight, measured whenever a read ended. */
  readonly flashThroughput: number;
  /** The same for only those reads that a pass waited for; absent where it hardly waited for any. */
  readonly awaitedThroughput?: number;
  /** Share of the weight bytes used that were already in DRAM. */
  readonly cacheHitRate: number;
  /** For mixtures of experts: share of the wanted experts that were already in DRAM. */
  readonly expertHitRate?: number;
  /** Share of FFN activations that were zero. */
  readonly ffnSparsity: number;
  readonly dramBudget: number;
  readonly peakRss: number;
  readonly directIo: boolean;
  readonly threads: number;
  /** With a draft: the share of its tokens that were right, and tokens that a pass made on average. */
  readonly acceptance?: number;
  readonly tokensPerPass?: number;
  /** Bytes that model and draft read per token that was decoded; prompt and loading do not count. */
  readonly flashBytesPerToken?: number;
  /** Time that proposing took. */
  readonly draftMs?: number;
  /** Share of the passes that went without proposals, because these would have slowed them down. */
  readonly draftDeclined?: number;
  /** Present where the draft was closed because it did not pay: the model has its memory. */
  readonly draftRetired?: true;
}

/** The counters. */
export interface StatsSources {
  readonly files: ModelFiles;
  readonly plan: MemoryPlan;
  readonly weights: Weights;
  readonly transformer: Transformer;
  readonly sparse: SparseFfn | null;
  readonly experts: ExpertStores | null;
}

interface Counters {
  readonly io: IoSnapshot;
  /** Checksums of data that was read, and book-keeping of neurons. */
  readonly memoryMs: number;
  readonly resident: number;
  readonly streamed: number;
  readonly neurons: number;
  readonly active: number;
  /** Experts that passes wanted, each once per pass, and those of them that were in DRAM. */
  readonly expertsWanted: number;
  readonly expertsPresent: number;
}

const noReads: IoSnapshot = {
  ...{ bytes: 0, reads: 0, histogram: {}, busyMs: 0 },
  ...{ waitMs: 0, awaitedBytes: 0, awaitedMs: 0 },
};
/** Milliseconds; measurements over less time mean nothing. */
const leastAwaited = 20;

function readsSince(now: IoSnapshot, before: IoSnapshot): IoSnapshot {
  const histogram = Object.entries(now.histogram)
    .map(([size, reads]) => [size, reads - (before.histogram[size] ?? 0)] as const)
    .filter(([, reads]) => reads > 0);
  return {
    bytes: now.bytes - before.bytes,
    reads: now.reads - before.reads,
    histogram: Object.fromEntries(histogram),
    busyMs: now.busyMs - before.busyMs,
    waitMs: now.waitMs - before.waitMs,
    awaitedBytes: now.awaitedBytes - before.awaitedBytes,
    awaitedMs: now.awaitedMs - before.awaitedMs,
  };
}

function countersOf({ files, weights, transformer, sparse, experts }: StatsSources): Counters {
  const none = { residentBytes: 0, streamedBytes: 0, storeMs: 0 };
  const stores = sparse?.counters ?? experts?.counters ?? none;
  const { resident, streamed } = weights.bytesUsed;
  const { wanted: expertsWanted = 0, present: expertsPresent = 0 } = experts?.counters ?? {};
  return {
    io: files.scheduler.stats.snapshot(),
    memoryMs: files.checkMs + stores.storeMs,
    resident: resident + stores.residentBytes,
    streamed: streamed + stores.streamedBytes,
    ...transformer.activations,
    ...{ expertsWanted, expertsPresent },
  };
}

/** The figures of a runtime; each run sees the difference since it began. */
export class RuntimeStats {
  readonly #sources: StatsSources;
  #loading: Counters | null;

  constructor(sources: StatsSources) {
    this.#sources = sources;
    const none = { io: noReads, resident: 0, streamed: 0, neurons: 0, active: 0 };
    const experts = { expertsWanted: 0, expertsPresent: 0 };
    this.#loading = { ...none, ...experts, memoryMs: countersOf(sources).memoryMs };
  }

  /** Begins a run; the first one includes the reads of loading. */
  begin(): RunRecorder {
    const base = this.#loading ?? countersOf(this.#sources);
    this.#loading = null;
    return new RunRecorder(this.#sources, base);
  }
}

/**
 * One run: its times are its own; bytes and reads are those of the whole runtime during the run, as one read
 * serves every sequence of a batch.
 */
export class RunRecorder {
  readonly #sources: StatsSources;
  readonly #base: Counters;
  #prefillMs = 0;
  #decodeMs = 0;
  #decodedTokens = 0;
  /** Bytes that had been read when the prompt was processed. */
  #bytesBefore = 0;

  constructor(sources: StatsSources, base: Counters) {
    this.#sources = sources;
    this.#base = base;
  }

  /** Times the processing of a prompt. */
  async prefill<T>(work: () => Promise<T>): Promise<T> {
    const started = performance.now();
    try {
      return await work();
    } finally {
      this.#prefillMs += performance.now() - started;
      this.#bytesBefore = this.#sources.files.scheduler.stats.snapshot().bytes;
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

  /** Counts a token that came from the same pass as another one. */
  token(): void {
    this.#decodedTokens++;
  }

  /** The figures so far. `tokens` counts generated tokens, the first of which prefill makes. */
  snapshot(promptTokens: number, tokens: number, draft: DraftFigures | null = null): RunStats {
    const { files, plan, experts } = this.#sources;
    const now = countersOf(this.#sources);
    const base = this.#base;
    const io = readsSince(now.io, base.io);
    const ioMs = io.waitMs;
    const memoryMs = now.memoryMs - base.memoryMs;
    const resident = now.resident - base.resident;
    const streamed = now.streamed - base.streamed;
    const neurons = now.neurons - base.neurons;
    const wanted = now.expertsWanted - base.expertsWanted;
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
      ...(io.awaitedMs >= leastAwaited && {
        awaitedThroughput: (io.awaitedBytes * 1000) / io.awaitedMs,
      }),
      cacheHitRate: resident + streamed === 0 ? 1 : resident / (resident + streamed),
      ...(experts && {
        expertHitRate: wanted === 0 ? 1 : (now.expertsPresent - base.expertsPresent) / wanted,
      }),
      ffnSparsity: neurons === 0 ? 0 : 1 - (now.active - base.active) / neurons,
      dramBudget: plan.dramBudget,
      peakRss: peakResidentBytes(),
      directIo: files.directIo,
      threads: plan.threads,
      ...(draft && {
        flashBytesPerToken:
          (now.io.bytes - this.#bytesBefore + draft.flashBytes) / Math.max(1, this.#decodedTokens),
        acceptance: draft.proposed === 0 ? 0 : draft.accepted / draft.proposed,
        tokensPerPass: draft.passes === 0 ? 0 : draft.tokens / draft.passes,
        draftMs: draft.draftMs,
        draftDeclined: draft.passes === 0 ? 0 : draft.passesWithout / draft.passes,
        ...(draft.retired && { draftRetired: true }),
      }),
    };
  }
}
