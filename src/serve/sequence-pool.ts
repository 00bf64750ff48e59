/**
 * The sequences of a runtime, which keep what was computed last when nobody uses them: a prompt that
 * begins alike takes it over. Of those that are idle, the least recently used is given up first.
 */

import { commonLength } from '../engine/generate.ts';
import type { Runtime } from '../engine/runtime.ts';
import type { Sequence } from '../engine/sequence.ts';

/** What a pool needs of a runtime. */
export type SequenceSource = Pick<Runtime, 'sequence'>;

interface Idle {
  readonly sequence: Sequence;
  /** Ids of the prompt that it answered last. */
  readonly prompt: readonly number[];
}

/** A sequence for one answer. */
export interface Lease {
  readonly sequence: Sequence;
  /** Positions that it has in common with the prompt, and that need not be computed. */
  readonly reused: number;
}

export class SequencePool {
  readonly #source: SequenceSource;
  readonly #most: number;
  #open = 0;
  /** The least recently used first. */
  readonly #idle: Idle[] = [];

  /** @param most sequences that may be open at once */
  constructor(source: SequenceSource, most: number) {
    this.#source = source;
    this.#most = most;
  }

  /**
   * A sequence for a prompt; there must be one that nobody uses.
   * @param shared whether others will ask for the same: then a fork is given, as far as there is room
   */
  take(prompt: readonly number[], shared = false): Lease {
    const best = this.#longest(prompt);
    if (best === null) return { sequence: this.#fresh(), reused: 0 };
    const { idle, common } = best;
    const sequence = this.#sequenceLike(idle, common, shared);
    sequence.rewind(Math.min(common, prompt.length - 1));
    return { sequence, reused: sequence.length };
  }

  /** Gives a sequence back, with the prompt that it answered. */
  giveBack({ sequence }: Lease, prompt: readonly number[]): void {
    this.#idle.push({ sequence, prompt });
  }

  /** The idle sequence that has the most in common with a prompt; null where none has anything. */
  #longest(prompt: readonly number[]): { readonly idle: Idle; readonly common: number } | null {
    let best: { idle: Idle; common: number } | null = null;
    for (const idle of this.#idle) {
      const common = commonLength(idle.sequence.ids, prompt);
      if (common > (best?.common ?? 0)) best = { idle, common };
    }
    return best;
  }

  /**
   * A sequence with the first `common` positions of an idle one: that itself, where the prompt goes on
   * with its conversation or it is next to be given up; else a fork, so that both are kept.
   */
  #sequenceLike(idle: Idle, common: number, shared: boolean): Sequence {
    const goesOn = common >= idle.prompt.length || common === idle.sequence.length;
    const isLast = this.#open === this.#most && this.#idle[0] === idle;
    if ((goesOn && !shared) || isLast) {
      this.#idle.splice(this.#idle.indexOf(idle), 1);
      return idle.sequence;
    }
    this.#makeRoom();
    // It was of use just now.
    this.#idle.splice(this.#idle.indexOf(idle), 1);
    this.#idle.push(idle);
    return idle.sequence.fork();
  }

  #fresh(): Sequence {
    this.#makeRoom();
    return this.#source.sequence();
  }

  /** Counts one more as open; where that is too many, the least recently used is closed. */
  #makeRoom(): void {
    if (this.#open < this.#most) {
      this.#open++;
      return;
    }
    const oldest = this.#idle.shift();
    if (oldest === undefined) throw new Error('all sequences are in use');
    oldest.sequence.close();
  }
}
