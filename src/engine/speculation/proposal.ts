/** Proposed tokens, and their outcome. */

/** A proposed token. */
export interface Proposal {
  readonly token: number;
  /** How sure the draft is: one of its levels, 0 being the least. */
  readonly level: number;
}

/** Index of the last of ascending bounds that a value reaches; -1 below all of them. */
export function levelFrom(bounds: readonly number[], value: number): number {
  const above = bounds.findIndex((bound) => bound > value);
  return (above < 0 ? bounds.length : above) - 1;
}

/**
 * Iterates over a text's ids and the ids after it; can be iterated repeatedly, whatever is appended to the
 * text meanwhile.
 */
export function inTurn(ids: readonly number[], more: readonly number[]): Iterable<number> {
  return {
    *[Symbol.iterator]() {
      yield* ids;
      yield* more;
    },
  };
}

/** The outcome of proposals. */
export interface DraftFigures {
  /** Tokens that were proposed and verified, and those of them that were right. */
  readonly proposed: number;
  readonly accepted: number;
  /** Passes, and those without proposals because proposals would not have paid. */
  readonly passes: number;
  readonly passesWithout: number;
  /** Tokens that the passes chose. */
  readonly tokens: number;
  /** Milliseconds that proposing took, and bytes that it read from flash. */
  readonly draftMs: number;
  readonly flashBytes: number;
  /** Whether the draft was closed because it did not pay. */
  readonly retired: boolean;
}
