import type { DraftFlags } from './draft.ts';
import type { RunFlags } from './options.ts';

/** The flags of `batch`. */
export interface BatchFlags extends DraftFlags, RunFlags {
  readonly parallel: number;
  readonly context?: number;
  readonly maxTokens: number;
  readonly seed: number;
  readonly template?: string;
  readonly json?: boolean;
}
