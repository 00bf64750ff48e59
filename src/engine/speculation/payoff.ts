/**
 * Whether a draft model pays for the memory that it takes: the control (control.ts) weighs proposals against
 * passes of the model as it is now, but without the draft the model would have more memory and faster passes.
 */

import type { PassTimes } from '../pass-times.ts';
import type { Outcome } from './control.ts';

/** Passes between two checks. */
export const checkedPasses = 24;
/** Checks in a row that find a loss before the draft is given up: a single one may be chance. */
const lossesInARow = 2;
/** A loss smaller than this share of the time is none. */
const mostLoss = 0.03;

export interface PayoffOptions {
  readonly passTimes: PassTimes;
  /** Expected time of a pass with the draft's memory, relative to now. */
  readonly relativeMs: number;
}

type Pass = Pick<Outcome, 'verified' | 'draftMs' | 'totalMs'> & {
  readonly sequences: number;
  readonly tokens: number;
};

export class Payoff {
  readonly #options: PayoffOptions;
  /** Since the last check. */
  #passes: Pass[] = [];
  #losses = 0;
  #lossPasses = 0;
  #lossTokens = 0;

  constructor(options: PayoffOptions) {
    this.#options = options;
  }

  /** False once the model would be faster with the draft's memory. */
  get pays(): boolean {
    return this.#losses < lossesInARow;
  }

  /** Tokens per pass during the last checks that found a loss. */
  get tokensPerPass(): number {
    return this.#lossPasses === 0 ? 0 : this.#lossTokens / this.#lossPasses;
  }

  /** Learns from a pass, with or without proposals, of any sequence. */
  add({ verified, draftMs, totalMs, tokens }: Outcome): void {
    if (!this.pays) return;
    const sequences = Math.max(1, Math.round(this.#options.passTimes.sequences));
    this.#passes.push({ verified, draftMs, totalMs, sequences, tokens: tokens.length });
    if (this.#passes.length === checkedPasses) this.#check();
  }

  #check(): void {
    const { passTimes, relativeMs } = this.#options;
    let [measured, fitted, without, tokens] = [0, 0, 0, 0];
    for (const pass of this.#passes) {
      measured += pass.totalMs;
      fitted += pass.draftMs + passTimes.expect(pass.sequences + pass.verified);
      // Each sequence gets one token from a pass without proposals.
      without += pass.tokens * relativeMs * passTimes.expect(pass.sequences);
      tokens += pass.tokens;
    }
    // When the machine slows down, measured times rise at once, but expected ones only later.
    const spent = Math.min(measured, fitted);
    if (spent > (1 + mostLoss) * without) {
      this.#losses++;
      this.#lossPasses += this.#passes.length;
      this.#lossTokens += tokens;
    } else {
      [this.#losses, this.#lossPasses, this.#lossTokens] = [0, 0, 0];
    }
    this.#passes = [];
  }
}
