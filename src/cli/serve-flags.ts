import type { DraftFlags } from './draft.ts';
import type { RunFlags } from './options.ts';

/** The flags of `serve`. */
export interface ServeFlags extends DraftFlags, RunFlags {
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
}
