import type { KvDType } from '../dtype.ts';
import type { PolicyName } from '../residency/store-policy.ts';
import type { Size } from '../units.ts';
import type { DraftFlags } from './draft.ts';

/** The flags of `batch`. */
export interface BatchFlags extends DraftFlags {
  readonly parallel: number;
  readonly context?: number;
  readonly maxTokens: number;
  readonly seed: number;
  readonly template?: string;
  readonly dramBudget?: Size;
  readonly threads?: number;
  readonly window: PolicyName;
  readonly kvDtype: KvDType;
  readonly exact?: boolean;
  readonly experts?: number;
  readonly json?: boolean;
}
