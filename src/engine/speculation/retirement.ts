/**
 * Closes a draft model that does not pay, and gives its memory to the model that it proposed for:
 *
 *     proposing -- does not pay --> closed -- weights loaded into its memory --> retired
 *                                     |  ^
 *                                     +--+ a read failed or was aborted: tried again by the next pass
 */

import type { PlanExtension } from '../run-plan.ts';
import type { Runtime } from '../runtime.ts';
import type { Outcome } from './control.ts';
import { Payoff } from './payoff.ts';

/** What is known of a draft that was closed. */
export interface RetiredDraft {
  /** Tokens that a pass yielded at last. */
  readonly tokensPerPass: number;
  /** Bytes of its memory, which hold weights of the model now. */
  readonly bytes: number;
}

export interface RetirementParts {
  /** The runtime that verifies. */
  readonly runtime: Runtime;
  readonly draft: Runtime;
  /** The plan of {@link runtime} with the draft's first memory. */
  readonly extension: PlanExtension;
  /** Called once when the draft has left its memory. */
  readonly onRetired?: ((draft: RetiredDraft) => void) | undefined;
}

export class Retirement {
  readonly #parts: RetirementParts;
  readonly #payoff: Payoff;
  /** Uses of the draft's runtime that have not ended. */
  readonly #uses = new Set<Promise<unknown>>();
  #closed = false;
  #isUnderWay = false;
  #retired = false;

  constructor(parts: RetirementParts) {
    const { extension, runtime } = parts;
    this.#parts = parts;
    this.#payoff = new Payoff({ passTimes: runtime.passTimes, relativeMs: extension.relativeMs });
  }

  /** Whether the draft is closed, so that nothing of its memory may be used. */
  get closed(): boolean {
    return this.#closed;
  }

  /** Learns from a pass of any sequence, with or without proposals. */
  add(outcome: Outcome): void {
    this.#payoff.add(outcome);
  }

  /** Runs `work`, which uses the draft's runtime, before the draft closes; null once it is closed. */
  async use<T>(work: () => Promise<T>): Promise<T | null> {
    if (this.#closed) return null;
    const use = work();
    this.#uses.add(use);
    try {
      return await use;
    } finally {
      this.#uses.delete(use);
    }
  }

  /**
   * Gives up a draft that does not pay. To be called between two passes of a sequence; others go on meanwhile
   * without the draft.
   * @throws what `Runtime.extend` throws; a later call then tries again
   */
  async review(signal?: AbortSignal): Promise<void> {
    if (this.#payoff.pays || this.#isUnderWay || this.#retired) return;
    this.#closed = true;
    this.#isUnderWay = true;
    try {
      const { runtime, draft, extension, onRetired } = this.#parts;
      await Promise.allSettled(this.#uses);
      await draft.close();
      await runtime.extend(extension.plan, draft.memory, signal);
      this.#retired = true;
      const bytes = extension.plan.arenas.at(-1)?.memoryBytes ?? 0;
      onRetired?.({ tokensPerPass: this.#payoff.tokensPerPass, bytes });
    } finally {
      this.#isUnderWay = false;
    }
  }
}
