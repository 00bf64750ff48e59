/**
 * The sequences of a runtime. An idle sequence keeps its keys and values, so that a prompt with the same
 * beginning can reuse them. The least recently used idle sequence is closed first.
 */

import { commonLength } from '../engine/generate.ts';
import type { Runtime } from '../engine/runtime.ts';
import type { Sequence } from '../engine/sequence.ts';

/** The part of a runtime that a pool needs. */
export type SequenceSource = Pick<Runtime, 'sequence'>;

interface Idle {
  readonly sequence: Sequence;
  /** Token ids of the prompt that it answered last. */
  readonly prompt: readonly number[];
}

/** A sequence for one answer. */
export interface Lease {
  readonly sequence: Sequence;
  /** Positions that the sequence shares with the prompt, and that need not be computed. */
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
   * A sequence for a prompt; at least one must not be in use.
   * @param shared whether further answers to the same prompt follow: then the result is a fork, if
   * there is room
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

  /** The idle sequence that shares the longest beginning with a prompt; null if none shares any. */
  #longest(prompt: readonly number[]): { readonly idle: Idle; readonly common: number } | null {
    let best: { idle: Idle; common: number } | null = null;
    for (const idle of this.#idle) {
      const common = commonLength(idle.sequence.ids, prompt);
      if (common > (best?.common ?? 0)) best = { idle, common };
    }
    return best;
  }

  /**
   * A sequence with the first `common` positions of an idle one: the idle one itself if the prompt
   * continues its conversation or if it is the next to be closed; else a fork, so that both are kept.
   */
  #sequenceLike(idle: Idle, common: number, shared: boolean): Sequence {
    const goesOn = common >= idle.prompt.length || common === idle.sequence.length;
    const isLast = this.#open === this.#most && this.#idle[0] === idle;
    if ((goesOn && !shared) || isLast) {
      this.#idle.splice(this.#idle.indexOf(idle), 1);
      return idle.sequence;
    }
    this.#makeRoom();
    // It was just used, so it becomes the most recent.
    this.#idle.splice(this.#idle.indexOf(idle), 1);
    this.#idle.push(idle);
    return idle.sequence.fork();
  }

  #fresh(): Sequence {
    this.#makeRoom();
    return this.#source.sequence();
  }

  /** Counts one more sequence as open; if that is too many, closes the least recently used one. */
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
