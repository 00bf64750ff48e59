/** From what a user asks to propose to a draft at work: its share of the plan, then the draft itself. */

import type { Model } from '../model.ts';
import type { RunRequest } from '../run-request.ts';
import type { Runtime } from '../runtime.ts';
import type { Drafter } from './draft.ts';
import { LookupDrafter, lookupBytes } from './lookup.ts';
import { besideRequest, checkSameTokens, draftBudget, ModelDrafter } from './model-draft.ts';

/** What proposes: the text itself, or a small model with the same tokens, which the caller closes. */
export type DraftSource = 'lookup' | Model;

/** Tokens that are proposed for a pass at most, where nobody says how many. */
export const usualDraftTokens = { lookup: 12, model: 8 };

export interface DraftOptions {
  readonly source: DraftSource;
  /** Tokens that are proposed for a pass at most; default: `usualDraftTokens`. */
  readonly most?: number | undefined;
  /** Bytes for a model that proposes; default: as many as it needs to stay in DRAM as a whole. */
  readonly bytes?: number | undefined;
  /** Propose as many as there are, whatever comes of it; for measurements. */
  readonly always?: boolean;
}

/**
 * A request that leaves room for a draft in its budget.
 * @throws InputError when the draft is a model with other tokens
 */
export function withDraft(
  model: Model,
  request: RunRequest,
  { source, most, bytes }: DraftOptions,
): RunRequest {
  const { context, sequences = 1 } = request;
  if (source === 'lookup') {
    const draftBytes = lookupBytes * context * sequences;
    return { ...request, draftTokens: most ?? usualDraftTokens.lookup, draftBytes };
  }
  checkSameTokens(model, source);
  const draftBytes = draftBudget(source, request, bytes);
  return { ...request, draftTokens: most ?? usualDraftTokens.model, draftBytes };
}

export interface OpenDraft {
  readonly drafter: Drafter;
  /** Before the runtime closes. */
  close(): Promise<void>;
}

/**
 * Opens a draft beside a runtime.
 * @param request what the runtime was opened for, made by {@link withDraft}
 */
export async function openDraft(
  runtime: Runtime,
  request: RunRequest,
  { source, bytes, always = false }: DraftOptions,
  onProgress?: (doneBytes: number, totalBytes: number) => void,
  signal?: AbortSignal,
): Promise<OpenDraft> {
  const { plan, passTimes } = runtime;
  // A small budget has room for the logits of fewer.
  const most = Math.max(0, plan.logitPositions - plan.kvCache.sequences);
  if (source === 'lookup') {
    return { drafter: new LookupDrafter({ passTimes, most, always }), close: async () => {} };
  }
  // What was left for it: to find that again takes as many plans as it took before.
  const { draftBytes: budget = draftBudget(source, request, bytes) } = request;
  const own = { ...besideRequest(source, request), budget };
  const draft = await runtime.openBeside(source, own, onProgress, signal);
  const drafter = new ModelDrafter({ passTimes, most, draft, always });
  return { drafter, close: () => draft.close() };
}
