/**
 * How many tokens are proposed for a pass: as many as make most tokens per second, by how often
 * proposals of a level were taken, what passes of so many rows took, and what proposing took. What was
 * lost by proposing is kept account of: beyond 3% of the time, passes go without.
 */

import { disturbed, type PassTimes } from '../pass-times.ts';
import type { DraftFigures, Proposal } from './proposal.ts';

/** What may be lost by proposing, as a share of the time. */
const mostLoss = 0.03;
/** And besides, in passes, so that something can be tried at the beginning. */
const firstLoss = 1.5;
/** Gains that make up for later losses, in passes: a text may change its nature. */
const mostCredit = 4;
/** Observations that a level's first guess counts for, and after which older ones fade. */
const priorWeight = 3;
const memory = 48;
/** After so many passes with proposals, one goes without, so that it stays known what that takes. */
const renewal = 64;
/** What a pass without proposals does to what is known of them: they are tried again. */
const forgetting = 0.97;
const weight = 0.2;

export interface ControlOptions {
  readonly passTimes: PassTimes;
  /** Of each level, the first guess at how often its tokens are taken. */
  readonly levels: readonly number[];
  /** Tokens that are proposed for a pass at most. */
  readonly most: number;
  /** Whether tokens cost nothing to be proposed, so that all are looked at before it is decided. */
  readonly free: boolean;
  /** Whether as many as there are are proposed, whatever comes of it; for tests and measurements. */
  readonly always?: boolean;
}

/** What became of a pass and of the proposals before it. */
export interface Outcome {
  /** All that were made, the `taken` first of them were verified. */
  readonly proposals: readonly Proposal[];
  readonly verified: number;
  readonly accepted: number;
  /** Tokens that the model would have chosen: those accepted, and one more. */
  readonly tokens: readonly number[];
  /** Of proposing, and of all. */
  readonly draftMs: number;
  readonly totalMs: number;
}

class Level {
  readonly #prior: number;
  #hits = 0;
  #total = 0;

  constructor(prior: number) {
    this.#prior = prior;
  }

  get rate(): number {
    return (this.#hits + priorWeight * this.#prior) / (this.#total + priorWeight);
  }

  add(hit: boolean): void {
    if (this.#total >= memory) this.fade(0.5);
    this.#hits += hit ? 1 : 0;
    this.#total++;
  }

  fade(factor: number): void {
    this.#hits *= factor;
    this.#total *= factor;
  }
}

export class DraftControl {
  readonly #options: ControlOptions;
  readonly #levels: readonly Level[];
  /** Of tokens that were proposed by whatever level. */
  readonly #any: Level;
  /** Milliseconds per proposed token. */
  #draftMs = 0;
  /** Milliseconds in all, and those that would have been saved without proposals. */
  #totalMs = 0;
  #lostMs = 0;
  #sincePlain = 0;
  readonly #totals = { proposed: 0, accepted: 0, passes: 0, tokens: 0 };

  constructor(options: ControlOptions) {
    this.#options = options;
    this.#levels = options.levels.map((prior) => new Level(prior));
    const { levels } = options;
    this.#any = new Level(levels.reduce((sum, prior) => sum + prior, 0) / levels.length);
  }

  /** Tokens that are proposed for a pass at most. */
  get most(): number {
    return this.#options.most;
  }

  /** What came of all proposals so far. */
  get totals(): Pick<DraftFigures, 'proposed' | 'accepted' | 'passes' | 'tokens'> {
    return this.#totals;
  }

  /** Whether another token is to be proposed for the next pass, `room` in all at most. */
  goesOn(proposals: readonly Proposal[], room: number): boolean {
    const { always, free } = this.#options;
    if (proposals.length >= room) return false;
    if (always || free) return true;
    if (!this.#allowed) return false;
    return this.#best(proposals, room, this.#draftMs) > proposals.length;
  }

  /** How many of the proposals are worth a row each. */
  worth(proposals: readonly Proposal[]): number {
    if (this.#options.always) return proposals.length;
    return this.#allowed ? this.#best(proposals, proposals.length, 0) : 0;
  }

  /** Learns from a pass. */
  add({ proposals, verified, accepted, tokens, draftMs, totalMs }: Outcome): void {
    const totals = this.#totals;
    totals.proposed += verified;
    totals.accepted += accepted;
    totals.passes++;
    totals.tokens += tokens.length;
    // What was proposed in vain can be compared all the same, up to the first that is wrong.
    const compared = Math.min(Math.max(verified, 1), accepted + 1, proposals.length);
    for (let i = 0; i < compared; i++) {
      const { token, level } = proposals[i] as Proposal;
      const hit = token === tokens[i];
      this.#levels[level]?.add(hit);
      this.#any.add(hit);
    }
    if (proposals.length > 0) {
      this.#draftMs += weight * (draftMs / proposals.length - this.#draftMs);
    }
    this.#totalMs += totalMs;
    this.#sincePlain = verified === 0 ? 0 : this.#sincePlain + 1;
    if (proposals.length === 0) {
      this.#any.fade(forgetting);
      return;
    }
    // What disturbed a pass is not the proposals' fault.
    const plainMs = this.#plainMs;
    const expected = this.#options.passTimes.expect(this.#rows + verified);
    const passMs = Math.min(totalMs - draftMs, disturbed * expected);
    this.#lostMs += draftMs + (verified === 0 ? 0 : passMs - tokens.length * plainMs);
    this.#lostMs = Math.max(this.#lostMs, -mostCredit * plainMs);
  }

  get #allowed(): boolean {
    if (this.#sincePlain >= renewal) return false;
    return this.#lostMs <= mostLoss * this.#totalMs + firstLoss * this.#plainMs;
  }

  /** Sequences that share a pass with the one that is decided for. */
  get #others(): number {
    return Math.max(0, this.#options.passTimes.sequences - 1);
  }

  /** Rows of a pass without proposals. */
  get #rows(): number {
    return Math.round(this.#others) + 1;
  }

  /** Milliseconds of a pass without proposals. */
  get #plainMs(): number {
    return this.#options.passTimes.expect(this.#rows);
  }

  /**
   * How many tokens make most of the time: of those proposed, and, up to `room`, of those that could be
   * for `draftMs` each.
   */
  #best(proposals: readonly Proposal[], room: number, draftMs: number): number {
    const { passTimes } = this.#options;
    const others = this.#others;
    const rows = this.#rows;
    // Step by step: nobody knows what many rows take before a few were tried.
    const most = Math.min(room, Math.max(2, 2 * passTimes.mostRows) - rows + 1);
    let [best, bestRate] = [0, (others + 1) / this.#plainMs];
    let [chance, expected] = [1, others + 1];
    for (let k = 1; k <= most; k++) {
      const proposal = proposals[k - 1];
      chance *= (proposal && this.#levels[proposal.level]?.rate) ?? this.#any.rate;
      expected += chance;
      const more = Math.max(0, k - proposals.length);
      const rate = expected / (passTimes.expect(rows + k) + more * draftMs);
      if (rate > bestRate) [best, bestRate] = [k, rate];
    }
    return best;
  }
}
