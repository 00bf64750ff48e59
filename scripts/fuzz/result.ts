/** The result of a case; the worker sends it to its parent unchanged. */

import type { Route } from './corpus.ts';

/** Something that must not happen. */
export interface Fault {
  /** Equal for all faults with one cause: class and origin of the error, or the promise that was broken. */
  readonly kind: string;
  /** The evidence: a message or a stack. */
  readonly detail: string;
}

export interface CaseResult {
  readonly number: number;
  readonly route: Route;
  readonly input: string;
  /** What was changed. */
  readonly changes: readonly string[];
  /** Whether every command did its work, rather than refuse it. */
  readonly accepted: boolean;
  /** The first refusal, without details that differ from case to case; empty if there was none. */
  readonly refusal: string;
  readonly faults: readonly Fault[];
  readonly ms: number;
  /** Resident memory at its highest, less that at the beginning, in bytes. */
  readonly growthBytes: number;
}

/** A worker's message. */
export type WorkerMessage =
  | { readonly kind: 'ready' }
  /** A command begins; `rss`: of a case's first one, resident bytes before it. */
  | { readonly kind: 'step'; readonly what: string }
  | { readonly kind: 'begin'; readonly about: CaseAbout }
  | { readonly kind: 'done'; readonly result: CaseResult };

/** The description of a case, known before it runs. */
export type CaseAbout = Pick<CaseResult, 'number' | 'route' | 'input' | 'changes'>;

/** Longest silence of one command. */
export const hangMs = 5_000;
/** Most memory that a case may take: inputs have 3 MB at most. */
export const mostGrowthBytes = 512 * 2 ** 20;
