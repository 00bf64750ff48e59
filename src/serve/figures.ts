/** Statistics of a server, for its page and for Prometheus. */

import type { RunRecorder } from '../engine/stats.ts';
import { peakResidentBytes, residentBytes } from '../plan/process.ts';
import type { JobQueue } from './job-queue.ts';

/** The answer to `GET /stats`; other programs rely on the keys. */
export interface ServerStats {
  readonly model: string;
  /** Positions of a sequence. */
  readonly context: number;
  readonly parallel: number;
  /** Answers being generated, and answers that wait for a sequence. */
  readonly active: number;
  readonly queued: number;
  /** The most requests that may wait. */
  readonly queueLimit: number;
  readonly requests: number;
  /** Totals of all requests; `reusedTokens` prompt tokens were already in the KV cache. */
  readonly promptTokens: number;
  readonly reusedTokens: number;
  readonly tokens: number;
  /** Recent speed of all sequences together; null before the first token. */
  readonly tokensPerSecond: number | null;
  /** The share of the used weight bytes that were in DRAM; null before any were used. */
  readonly cacheHitRate: number | null;
  /** Bytes read since the model was loaded. */
  readonly flashBytes: number;
  readonly flashReads: number;
  /** Per generated token. */
  readonly flashBytesPerToken: number | null;
  /** Bytes. */
  readonly residentMemory: number;
  readonly peakMemory: number;
  readonly dramBudget: number;
  readonly uptimeMs: number;
}

export interface FiguresParts {
  readonly model: string;
  readonly context: number;
  readonly parallel: number;
  readonly queueLimit: number;
  readonly dramBudget: number;
  readonly queue: Pick<JobQueue, 'running' | 'waiting'>;
  readonly recorder: Pick<RunRecorder, 'snapshot'>;
}

/** Weight of the newest gap between two tokens in the running mean. */
const newest = 0.05;

export class Figures {
  readonly #parts: FiguresParts;
  readonly #started = performance.now();
  /** Answers by endpoint and status. */
  readonly #requests = new Map<string, number>();
  #promptTokens = 0;
  #reusedTokens = 0;
  #tokens = 0;
  /** When the last token came; null if the server was idle since. */
  #lastToken: number | null = null;
  #gapMs: number | null = null;

  constructor(parts: FiguresParts) {
    this.#parts = parts;
  }

  /** Counts an answered request. */
  answered(endpoint: string, status: number): void {
    const key = `endpoint="${endpoint}",status="${status}"`;
    this.#requests.set(key, (this.#requests.get(key) ?? 0) + 1);
  }

  /** Counts a prompt, of which `reused` tokens were already in the KV cache. */
  prompted(tokens: number, reused: number): void {
    this.#promptTokens += tokens;
    this.#reusedTokens += reused;
    if (this.#parts.queue.running <= 1) this.#lastToken = null;
  }

  /** Counts generated tokens. */
  generated(count: number): void {
    if (count === 0) return;
    this.#tokens += count;
    const now = performance.now();
    if (this.#lastToken !== null) {
      const gap = (now - this.#lastToken) / count;
      this.#gapMs = this.#gapMs === null ? gap : this.#gapMs + newest * (gap - this.#gapMs);
    }
    this.#lastToken = now;
  }

  get stats(): ServerStats {
    const { queue, recorder, ...fixed } = this.#parts;
    const { flashBytes, flashReads, cacheHitRate } = recorder.snapshot(0, 0);
    const tokens = this.#tokens;
    const began = this.#promptTokens > this.#reusedTokens;
    return {
      ...fixed,
      active: queue.running,
      queued: queue.waiting,
      requests: [...this.#requests.values()].reduce((sum, count) => sum + count, 0),
      promptTokens: this.#promptTokens,
      reusedTokens: this.#reusedTokens,
      tokens,
      tokensPerSecond: this.#gapMs === null ? null : 1000 / Math.max(this.#gapMs, 1e-3),
      cacheHitRate: began ? cacheHitRate : null,
      flashBytes,
      flashReads,
      flashBytesPerToken: tokens === 0 ? null : flashBytes / tokens,
      residentMemory: residentBytes(),
      peakMemory: peakResidentBytes(),
      uptimeMs: performance.now() - this.#started,
    };
  }

  /** The same in Prometheus' text format. */
  get metrics(): string {
    const { stats } = this;
    const lines = [...this.#requests].map(([labels, count]) => `{${labels}} ${count}`);
    return [
      metric('requests_total', 'counter', 'Requests answered.', lines),
      metric('prompt_tokens_total', 'counter', 'Prompt tokens.', stats.promptTokens),
      metric(
        'prompt_tokens_reused_total',
        'counter',
        'Prompt tokens whose keys and values were already in memory.',
        stats.reusedTokens,
      ),
      metric('tokens_total', 'counter', 'Tokens generated.', stats.tokens),
      metric(
        'tokens_per_second',
        'gauge',
        'Recent generation speed of all sequences together.',
        stats.tokensPerSecond ?? 0,
      ),
      metric('sequences_active', 'gauge', 'Answers being generated.', stats.active),
      metric('queue_length', 'gauge', 'Answers waiting for a sequence.', stats.queued),
      metric('queue_limit', 'gauge', 'The most requests that may wait.', stats.queueLimit),
      metric(
        'cache_hit_ratio',
        'gauge',
        'Share of the used weight bytes that were in DRAM.',
        stats.cacheHitRate ?? 0,
      ),
      metric('flash_read_bytes_total', 'counter', 'Bytes read from flash.', stats.flashBytes),
      metric('flash_reads_total', 'counter', 'Reads from flash.', stats.flashReads),
      metric(
        'resident_memory_bytes',
        'gauge',
        'Resident memory of the process.',
        stats.residentMemory,
      ),
      metric(
        'peak_memory_bytes',
        'gauge',
        'Peak resident memory of the process.',
        stats.peakMemory,
      ),
      metric('dram_budget_bytes', 'gauge', 'Memory budget of the process.', stats.dramBudget),
      metric('uptime_seconds', 'gauge', 'Time since the model was loaded.', stats.uptimeMs / 1000),
    ].join('');
  }
}

function metric(
  name: string,
  type: 'counter' | 'gauge',
  help: string,
  value: number | readonly string[],
): string {
  const full = `flashllm_${name}`;
  const samples = typeof value === 'number' ? [` ${value}`] : value;
  const lines = samples.map((sample) => `${full}${sample}\n`).join('');
  return `# HELP ${full} ${help}\n# TYPE ${full} ${type}\n${lines}`;
}
