/** The request with which a model is opened. */

import type { KvDType } from '../dtype.ts';
import type { PlanRequest, Residency } from '../plan/request.ts';
import type { PolicyName } from '../residency/store-policy.ts';

/** The most sequences at once: each has a row in a pass, which has as many for a prompt. */
export const mostSequences = 64;

export interface RunRequest {
  /** Bytes for the whole process. */
  readonly budget: number;
  /** Bytes of it reserved for the caller, such as for waiting texts; 0 by default. */
  readonly ownBytes?: number;
  /** The longest sequence, prompt and generated tokens together. */
  readonly context: number;
  /** Sequences that may be open at once; 1 by default. */
  readonly sequences?: number;
  /** Positions of all sequences together; by default enough for all of them at their longest. */
  readonly positions?: number;
  /**
   * The format of the KV cache, f32 by default. f16 takes half the memory; the output is no longer that of
   * the exact model, but still the same at every budget.
   */
  readonly kvDtype?: KvDType;
  readonly logits?: PlanRequest['logits'];
  /**
   * The neurons that the FFNs compute where there are predictors. `sparse` (the default): only wanted
   * neurons; `exact`: every neuron, with products in f32 whatever the format of the weights; `dense`: every
   * neuron, with the usual products; `measured`: every neuron, with the predictors loaded so that they can be
   * measured; `auto`: only wanted neurons unless computing every neuron is expected to be faster at this
   * budget (see `MemoryPlan.choice`).
   */
  readonly ffn?: 'sparse' | 'exact' | 'dense' | 'measured' | 'auto';
  /**
   * Experts that a token takes, of a mixture of experts: as many as the model says, or fewer, with which
   * the output is no longer the model's.
   */
  readonly experts?: number;
  /** Which weights may stay in DRAM; all by default. */
  readonly residency?: Residency;
  /** Which neurons, with predictors, or experts are kept in DRAM. */
  readonly window?: PolicyName;
  /** The most positions processed at once. */
  readonly chunk?: number;
  /**
   * How many of the largest logits the caller will need; absent: all. With few of them and little memory, the
   * head takes a quarter of the memory (see `HeadProposal`); the logits are the same.
   */
  readonly bestLogits?: number;
  /**
   * The most tokens that may be proposed for a pass, all sequences together; the plan reserves room for their
   * logits. 0 by default.
   */
  readonly draftTokens?: number;
  /** Bytes of the budget for the draft; 0 by default. */
  readonly draftBytes?: number;
  /**
   * Whether the model runs beside another model of this process, on its threads: then the other model's plan
   * counts the memory of the process and of the threads.
   */
  readonly beside?: boolean;
  /**
   * Threads that compute; default: one for each core that the process may use, as far as the budget has room.
   */
  readonly threads?: number;
  /** The most bytes of one WebAssembly memory: 4 GiB, or less in tests. */
  readonly memoryLimit?: number;
}
