/**
 * Drafts propose tokens before the model computes them. The model verifies all proposals in one pass and
 * accepts those that it would have made itself, so that a draft affects how long a token takes, never which
 * token it is.
 */

import type { Sampler } from '../sampler.ts';
import type { Sequence } from '../sequence.ts';
import type { DraftControl } from './control.ts';
import type { Proposal } from './proposal.ts';
import type { Retirement } from './retirement.ts';

/** Proposes for one generation. */
export interface Draft {
  /** Prepares for a prompt; this counts as time of the prompt. */
  prepare(promptIds: readonly number[], signal?: AbortSignal): Promise<void>;
  /** Begins to propose tokens that follow `ids`, which begin with the ids of the call before. */
  start(ids: readonly number[]): void;
  /** The next token after `ids` and the tokens proposed since {@link start}; null where it knows none. */
  next(signal?: AbortSignal): Promise<Proposal | null>;
}

/** Proposes for the generations of a runtime, several at once where it has several sequences. */
export interface Drafter {
  /** Decides how many tokens are proposed, from the outcomes so far. */
  readonly control: DraftControl;
  /** Bytes that proposing has read from flash so far. */
  readonly flashBytes: number;
  /** Gives the draft's memory to the model where it does not pay; absent where there is none to give. */
  readonly retirement?: Retirement | undefined;
  /** @param sampler chooses the sequence's tokens */
  begin(sequence: Sequence, sampler: Sampler): Draft;
}
