/**
 * Drafts: whoever proposes tokens before the model is asked. The model computes all that is proposed in
 * one pass, and takes as much of it as it would have made itself, so a draft decides how long a token
 * takes, never which one it is.
 */

import type { Sampler } from '../sampler.ts';
import type { Sequence } from '../sequence.ts';
import type { DraftControl } from './control.ts';
import type { Proposal } from './proposal.ts';

/** Proposes for one generation. */
export interface Draft {
  /** Makes ready for a prompt; that belongs to the time the prompt takes. */
  prepare(promptIds: readonly number[], signal?: AbortSignal): Promise<void>;
  /** Begins to propose what follows `ids`, which begin as those before. */
  start(ids: readonly number[]): void;
  /** The next token behind `ids` and what was proposed since {@link start}; null: it knows none. */
  next(signal?: AbortSignal): Promise<Proposal | null>;
}

/** Proposes for the generations of a runtime, several at once where it has several sequences. */
export interface Drafter {
  /** Decides how much is proposed, by what was learned so far. */
  readonly control: DraftControl;
  /** Bytes that proposing has read from flash so far. */
  readonly flashBytes: number;
  /** @param sampler chooses the sequence's tokens */
  begin(sequence: Sequence, sampler: Sampler): Draft;
}
