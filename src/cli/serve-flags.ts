import type { KvDType } from '../dtype.ts';
import type { PolicyName } from '../residency/store-policy.ts';
import type { Size } from '../units.ts';
import type { DraftFlags } from './draft.ts';

/** The flags of `serve`. */
export interface ServeFlags extends DraftFlags {
  readonly host: string;
  readonly port: number;
  readonly parallel: number;
  readonly queue: number;
  readonly context?: number;
  readonly template?: string;
  readonly apiKey?: string;
  readonly allowHost?: string[];
  readonly allowOrigin?: string[];
  readonly grammars: boolean;
  readonly dramBudget?: Size;
  readonly threads?: number;
  readonly kvDtype: KvDType;
  readonly window: PolicyName;
  readonly exact?: boolean;
  readonly experts?: number;
}
