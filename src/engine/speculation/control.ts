/**
 * Decides how many tokens are proposed for a pass: the number that gives the most tokens per second,
 * estimated from how often proposals of a level were accepted, from how long passes with that many rows took,
 * and from how long proposing took. It keeps account of the time that proposals have cost: beyond 3% of the
 * total time, passes go without proposals.
 */

import { disturbed, type PassTimes } from '../pass-times.ts';
import type { DraftFigures, Proposal } from './proposal.ts';

/** The share of the time that proposing may cost. */
const mostLoss = 0.03;
/** An additional allowance, in passes, so that proposals can be tried at the beginning. */
const firstLoss = 1.5;
/** The most past gains that may offset later losses, in passes: the nature of a text may change. */
const mostCredit = 4;
/** The number of observations that a level's first guess counts as, and after which older ones fade. */
const priorWeight = 3;
const memory = 48;
/** After this many passes with proposals, one goes without, so that its duration stays known. */
const renewal = 64;
/** Factor by which a pass without proposals fades what is known of them, so that they are tried again. */
const forgetting = 0.97;
const weight = 0.2;

export interface ControlOptions {
  readonly passTimes: PassTimes;
  /** For each level, the first guess at the share of its tokens that is accepted. */
  readonly levels: readonly number[];
  /** The most tokens proposed for a pass. */
  readonly most: number;
  /** Whether proposing tokens costs nothing, so that all of them are known before the decision. */
  readonly free: boolean;
  /** Whether to propose as many as possible, even at a loss; for tests and measurements. */
  readonly always?: boolean;
}

/** The outcome of a pass and of the proposals before it. */
export interface Outcome {
  /** All proposals; the first `taken` of them were verified. */
  readonly proposals: readonly Proposal[];
  readonly verified: number;
  readonly accepted: number;
  /** Tokens that the model would have chosen: those accepted, and one more. */
  readonly tokens: readonly number[];
  /** Milliseconds of proposing, and of everything. */
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
  /** Of proposed tokens of any level. */
  readonly #any: Level;
  /** Milliseconds per proposed token. */
  #draftMs = 0;
  /** Total milliseconds, and those that would have been saved without proposals. */
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

  /** The most tokens proposed for a pass. */
  get most(): number {
    return this.#options.most;
  }

  /** The outcome of all proposals so far. */
  get totals(): Pick<DraftFigures, 'proposed' | 'accepted' | 'passes' | 'tokens'> {
    return this.#totals;
  }

  /** Whether to propose another token for the next pass, at most `room` in total. */
  goesOn(proposals: readonly Proposal[], room: number): boolean {
    const { always, free } = this.#options;
    if (proposals.length >= room) return false;
    if (always || free) return true;
    if (!this.#allowed) return false;
    return this.#best(proposals, room, this.#draftMs) > proposals.length;
  }

  /** How many of the proposals should get a row. */
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
    // Proposals without a row can be compared as well, up to the first wrong one.
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
    // A disturbed pass is not counted against the proposals.
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

  /** Sequences that share a pass with the one decided on. */
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
   * How many tokens make the best use of the time: of those proposed and, up to `room`, of those that could
   * still be proposed for `draftMs` each.
   */
  #best(proposals: readonly Proposal[], room: number, draftMs: number): number {
    const { passTimes } = this.#options;
    const others = this.#others;
    const rows = this.#rows;
    // The number grows step by step: the duration of many rows is unknown before a few were tried.
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
