/** Tokens that are proposed, and what became of them. */

/** A token that is proposed. */
export interface Proposal {
  readonly token: number;
  /** How sure the draft is: one of its levels, 0 being the least. */
  readonly level: number;
}

/** The last of ascending bounds that a value reaches, by its place; -1 below all of them. */
export function levelFrom(bounds: readonly number[], value: number): number {
  const above = bounds.findIndex((bound) => bound > value);
  return (above < 0 ? bounds.length : above) - 1;
}

/** The ids of a text and of what follows it, as often as they are asked for, whatever is appended meanwhile. */
export function inTurn(ids: readonly number[], more: readonly number[]): Iterable<number> {
  return {
    *[Symbol.iterator]() {
      yield* ids;
      yield* more;
    },
  };
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
  /** Milliseconds that proposing took, and bytes that it read from flash. */
  readonly draftMs: number;
  readonly flashBytes: number;
}
