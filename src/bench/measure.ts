/**
 * Measures one row once: opens a model, processes a prompt, generates tokens, and reports figures of decoding
 * per token. Loading and the prompt are reported separately. It should run in its own process, so that the
 * peak memory is that of the row.
 */

import { readFileSync } from 'node:fs';
import type { KvDType } from '../dtype.ts';
import { Model } from '../engine/model.ts';
import type { RunRequest } from '../engine/run-request.ts';
import { Runtime } from '../engine/runtime.ts';
import { bestLogits, Sampler } from '../engine/sampler.ts';
import type { SamplingOptions } from '../engine/sampling-options.ts';
import type { Sequence } from '../engine/sequence.ts';
import type { RunRecorder } from '../engine/stats.ts';
import { InterruptedError } from '../errors.ts';
import { loadProfile } from '../flash/device-profile.ts';
import type { PlanItemId } from '../plan/items.ts';
import { peakResidentBytes } from '../plan/process.ts';
import { needsPredictors, type RowName, rowSpec } from './rows.ts';

/** The measurement to make; plain data, so that it can be sent to another process. */
export interface RowRequest {
  readonly model: string;
  readonly row: RowName;
  /** Bytes for the whole process. */
  readonly budget: number;
  readonly promptIds: readonly number[];
  readonly maxTokens: number;
  /** Decoding ends with the first token after this many milliseconds. */
  readonly maxMs: number;
  /** Length of the paper's window, in tokens. */
  readonly window: number;
  readonly sampling: SamplingOptions;
  readonly kvDtype: KvDType;
  readonly threads: number | null;
  /** The file of unbundled neurons, for rows that need one. */
  readonly unbundled: string | null;
  /** What FFNs compute, if it differs from the row's setting. */
  readonly ffn?: RunRequest['ffn'];
}

/** Bytes, milliseconds, bytes per second; `per token` are means over the decoded tokens. */
export interface RowRun {
  readonly row: RowName;
  readonly tokens: readonly number[];
  /** The number of tokens that the means are over: all but the first, which the prompt's pass makes. */
  readonly decodedTokens: number;
  readonly loadMs: number;
  readonly prefillMs: number;
  /** Per token: waiting for flash, managing memory, computing, and the total. */
  readonly ioMs: number;
  readonly memoryMs: number;
  readonly computeMs: number;
  readonly totalMs: number;
  /** For each decoded token, in order, to see whether decoding gets slower. */
  readonly tokenMs: readonly number[];
  readonly flashBytesPerToken: number;
  readonly readsPerToken: number;
  /** Share of reads of 32 KiB or more. */
  readonly largeReads: number;
  /** Measured while at least one read was in flight. */
  readonly flashThroughput: number;
  /** While decoding waited for reads, bytes per second; absent where it hardly waited. */
  readonly awaitedThroughput?: number;
  /** Bytes requested from the device according to the system kernel, where it reports them. */
  readonly deviceBytesPerToken: number | null;
  readonly directIo: boolean;
  /** Weights and predictors in DRAM. */
  readonly dramBytes: number;
  readonly peakRss: number;
  readonly cacheHitRate: number;
  /** For mixtures of experts: share of the experts wanted in decoding that were already in DRAM. */
  readonly expertHitRate?: number;
  readonly threads: number;
  /** Whether predictors were used. */
  readonly sparse: boolean;
}

const largeRead = 32 * 1024;
/** Items of a plan that are weights, or take their place. */
const weightItems: readonly PlanItemId[] = [
  'weights',
  'headProposal',
  'stores',
  'experts',
  'predictors',
];

/** Measures a row in this process. */
export async function measureRow(request: RowRequest, signal?: AbortSignal): Promise<RowRun> {
  const spec = rowSpec(request.row);
  const { unbundled, sampling, promptIds, ffn = spec.request.ffn } = request;
  const model = await Model.open(request.model, {
    profile: await loadProfile(request.model),
    predictors: needsPredictors(spec) && ffn !== 'exact',
    ...(spec.unbundled && unbundled !== null ? { unbundled } : {}),
  });
  try {
    const started = performance.now();
    const runtime = await Runtime.open(
      model,
      {
        ...spec.request,
        ...(ffn && { ffn }),
        budget: request.budget,
        // The last token is not fed back, so it needs no position.
        context: promptIds.length + Math.max(1, request.maxTokens) - 1,
        kvDtype: request.kvDtype,
        window: spec.windowed ? request.window : 'auto',
        // The paper's rows use the head as it is.
        ...(spec.name === 'flashllm' ? bestLogits(sampling) : {}),
        ...(request.threads === null ? {} : { threads: request.threads }),
      },
      undefined,
      signal,
    );
    const loadMs = performance.now() - started;
    try {
      return await decode(runtime.sequence(), request, new Sampler(sampling), loadMs, signal);
    } finally {
      await runtime.close();
    }
  } finally {
    model.close();
  }
}

async function decode(
  sequence: Sequence,
  { row, promptIds, maxTokens, maxMs }: RowRequest,
  sampler: Sampler,
  loadMs: number,
  signal: AbortSignal | undefined,
): Promise<RowRun> {
  const { stats, plan, model } = sequence.runtime;
  const options = signal === undefined ? {} : { signal };
  const recorder = stats.begin();
  const forward = (next: readonly number[]) => sequence.forward(next, sampler.wanted, options);
  let logits = await recorder.prefill(() => forward(promptIds));
  const before = readCounters(recorder, model);
  const decoding = stats.begin();
  const ids = [...promptIds];
  const tokens: number[] = [];
  const tokenMs: number[] = [];
  const started = performance.now();
  // EOS counts as a token like any other here: the model begins a new text after it.
  for (;;) {
    const token = sampler.sample(logits, ids);
    tokens.push(token);
    ids.push(token);
    if (tokens.length >= maxTokens || performance.now() - started > maxMs) break;
    if (signal?.aborted) throw new InterruptedError();
    const fed = performance.now();
    logits = await recorder.decode(() => forward([token]));
    tokenMs.push(Math.round((performance.now() - fed) * 10) / 10);
  }
  const after = readCounters(recorder, model);
  const { expertHitRate, awaitedThroughput } = decoding.snapshot(0, 0);
  const decodedTokens = tokens.length - 1;
  const perToken = (key: 'ioMs' | 'memoryMs' | 'computeMs' | 'bytes' | 'reads') =>
    decodedTokens === 0 ? 0 : (after[key] - before[key]) / decodedTokens;
  const busyMs = after.busyMs - before.busyMs;
  const device =
    after.deviceBytes === null || before.deviceBytes === null
      ? null
      : after.deviceBytes - before.deviceBytes;
  const [ioMs, memoryMs, computeMs] = [
    perToken('ioMs'),
    perToken('memoryMs'),
    perToken('computeMs'),
  ];
  return {
    row,
    tokens,
    decodedTokens,
    loadMs,
    prefillMs: after.prefillMs,
    ioMs,
    memoryMs,
    computeMs,
    totalMs: ioMs + memoryMs + computeMs,
    tokenMs,
    flashBytesPerToken: perToken('bytes'),
    readsPerToken: perToken('reads'),
    largeReads: after.reads === before.reads ? 1 : share(after, before),
    flashThroughput: busyMs === 0 ? 0 : ((after.bytes - before.bytes) * 1000) / busyMs,
    deviceBytesPerToken: device === null || decodedTokens === 0 ? null : device / decodedTokens,
    directIo: model.files.directIo,
    dramBytes: plan.items
      .filter(({ id }) => weightItems.includes(id))
      .reduce((sum, { bytes }) => sum + bytes, 0),
    peakRss: peakResidentBytes(),
    cacheHitRate: after.cacheHitRate,
    ...(expertHitRate === undefined ? {} : { expertHitRate }),
    ...(awaitedThroughput === undefined ? {} : { awaitedThroughput }),
    threads: plan.threads,
    sparse: plan.sparse !== null,
  };
}

interface Counters {
  readonly ioMs: number;
  readonly memoryMs: number;
  readonly computeMs: number;
  readonly prefillMs: number;
  readonly cacheHitRate: number;
  readonly bytes: number;
  readonly reads: number;
  readonly largeReads: number;
  readonly busyMs: number;
  readonly deviceBytes: number | null;
}

function readCounters(recorder: RunRecorder, model: Model): Counters {
  const { ioMs, memoryMs, computeMs, prefillMs, cacheHitRate } = recorder.snapshot(0, 0);
  const { bytes, reads, histogram, busyMs } = model.files.scheduler.stats.snapshot();
  const largeReads = Object.entries(histogram)
    .filter(([size]) => Number(size) >= largeRead)
    .reduce((sum, [, count]) => sum + count, 0);
  const deviceBytes = readDeviceBytes();
  return {
    ...{ ioMs, memoryMs, computeMs, prefillMs, cacheHitRate },
    ...{ bytes, reads, largeReads, busyMs, deviceBytes },
  };
}

function share(after: Counters, before: Counters): number {
  return (after.largeReads - before.largeReads) / (after.reads - before.reads);
}

/** Bytes that this process caused to be fetched from storage, as Linux counts them. */
function readDeviceBytes(): number | null {
  try {
    const found = /^read_bytes: (\d+)$/m.exec(readFileSync('/proc/self/io', 'utf8'))?.[1];
    return found === undefined ? null : Number(found);
  } catch {
    return null;
  }
}
