/** Tokens that are proposed, and what became of them. */

/** A token that is proposed. */
export interface Proposal {
  readonly token: number;
  /** How sure the draft is: one of its levels, 0 being the least. */
  readonly level: number;
}

/** What became of proposals. */
export interface DraftFigures {
  /** Tokens that were proposed and verified, and those of them that were right. */
  readonly proposed: number;
  readonly accepted: number;
  /** Passes, and those that went without proposals because these would not have paid. */
  readonly passes: number;
  readonly passesWithout: number;
  /** Tokens that the passes decided. */
  readonly tokens: number;
  /** Milliseconds that proposing took. */
  readonly draftMs: number;
}
