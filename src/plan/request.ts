/** The request for a plan. */

import type { FixedSizes } from './fixed-layout.ts';
import type { ReadCosts } from './miss-cost.ts';

export interface PlanRequest extends FixedSizes {
  /** Bytes that the whole process may take. */
  readonly dramBudget: number;
  /** Bytes of the process without weights: code, heap and a margin for growth. */
  readonly processBytes: number;
  /** The most positions processed at once. */
  readonly chunk: number;
  /** Whether only predicted neurons are computed; else predictors, if any, are loaded to be measured. */
  readonly sparse: boolean;
  /** Which weights may stay in DRAM; `all` by default. */
  readonly residency?: Residency;
  /**
   * How many of the largest logits are needed; absent: all. Where few are needed and weights do not fit, a
   * copy of the head in few bits may propose (see `HeadProposal`).
   */
  readonly bestLogits?: number;
  /** The costs of reading on this device; by default those of an ordinary SSD. */
  readonly readCosts?: ReadCosts;
  /** Bytes that a draft takes, with or without its own model; 0 by default. */
  readonly draftBytes?: number;
  /** Whether the threads are those of another model in this process, whose plan counts them. */
  readonly beside?: boolean;
  /** The most bytes of one memory; smaller in tests. */
  readonly memoryLimit?: number;
}

/**
 * Weights that may stay in DRAM, as far as there is room: all of them, all but those of FFNs, or none, so
 * that each is read for every token. Values other than `all` exist for comparisons.
 */
export type Residency = 'all' | 'attention' | 'none';

/** A request without a budget. */
export type PlanRequestBase = Omit<PlanRequest, 'dramBudget'>;
