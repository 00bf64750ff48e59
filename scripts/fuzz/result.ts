/** What a case came to; sent from worker to parent as it is. */

import type { Route } from './corpus.ts';

/** Something that must not be. */
export interface Fault {
  /** The same for all faults that are one: class of the error and where it came from, or what was broken. */
  readonly kind: string;
  /** What was seen: a message, a stack. */
  readonly detail: string;
}

export interface CaseResult {
  readonly number: number;
  readonly route: Route;
  readonly input: string;
  /** What was changed. */
  readonly changes: readonly string[];
  /** Whether all that was asked for was done, rather than refused. */
  readonly accepted: boolean;
  /** The first refusal, without what differs from case to case; empty where there was none. */
  readonly refusal: string;
  readonly faults: readonly Fault[];
  readonly ms: number;
  /** Resident memory at its highest, less that at the beginning, in bytes. */
  readonly growthBytes: number;
}

/** What a worker says. */
export type WorkerMessage =
  | { readonly kind: 'ready' }
  /** A command begins; `rss`: of a case's first one, resident bytes before it. */
  | { readonly kind: 'step'; readonly what: string }
  | { readonly kind: 'begin'; readonly about: CaseAbout }
  | { readonly kind: 'done'; readonly result: CaseResult };

/** What a case is, known before anything is done with it. */
export type CaseAbout = Pick<CaseResult, 'number' | 'route' | 'input' | 'changes'>;

/** Longest silence of one command. */
export const hangMs = 5_000;
/** Most memory that a case may take: inputs have 3 MB at most. */
export const mostGrowthBytes = 512 * 2 ** 20;
