/** What a model is asked to be opened for. */

import type { KvDType } from '../dtype.ts';
import type { PlanRequest, Residency } from '../plan/request.ts';
import type { PolicyName } from '../residency/store-policy.ts';

export interface RunRequest {
  /** Bytes for the whole process. */
  readonly budget: number;
  /** Bytes of it that the caller keeps for itself, such as texts that wait; 0 by default. */
  readonly ownBytes?: number;
  /** The longest sequence, prompt and generated tokens together. */
  readonly context: number;
  /** Sequences that may be open at once; 1 by default. */
  readonly sequences?: number;
  /** Positions of all sequences together; by default as many as all of them at their longest. */
  readonly positions?: number;
  /**
   * What keys and values are kept in, f32 by default. f16 takes half the memory; the output is no
   * longer that of the exact model, but still the same at every budget.
   */
  readonly kvDtype?: KvDType;
  readonly logits?: PlanRequest['logits'];
  /**
   * What the FFNs compute where there are predictors: only what is wanted (the default), every neuron
   * all the same, every neuron with the predictors there to be measured, or `auto`: only what is wanted
   * unless every neuron is expected to be faster at this budget (see `MemoryPlan.choice`).
   */
  readonly ffn?: 'sparse' | 'exact' | 'measured' | 'auto';
  /**
   * Experts that a token takes, of a mixture of experts: as many as the model says, or fewer, with which
   * the output is no longer the model's.
   */
  readonly experts?: number;
  /** Which weights may stay in DRAM; all by default. */
  readonly residency?: Residency;
  /** Which neurons, with predictors, or experts are kept in DRAM. */
  readonly window?: PolicyName;
  /** Positions processed at once, at most. */
  readonly chunk?: number;
  /**
   * How many of the largest logits will be asked for; absent: all. With few of them and little memory,
   * the head takes a quarter of the room (see `HeadProposal`); the logits are the same.
   */
  readonly bestLogits?: number;
  /**
   * Tokens that may be proposed for a pass, of all sequences together, so that their logits have room;
   * 0 by default.
   */
  readonly draftTokens?: number;
  /** Bytes of the budget that go to whoever proposes; 0 by default. */
  readonly draftBytes?: number;
  /**
   * Whether it runs beside another model of this process, on its threads: then the plan of that one
   * counts the process and the threads.
   */
  readonly beside?: boolean;
  /** Threads that compute; default: as many as the process has cores and the budget room. */
  readonly threads?: number;
  /** Bytes one WebAssembly memory may have: 4 GiB, or less in tests. */
  readonly memoryLimit?: number;
}
