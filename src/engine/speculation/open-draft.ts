/** Opens the draft that a user asks for: first its share of the plan, then the draft itself. */

import type { Model } from '../model.ts';
import type { PlanExtension } from '../run-plan.ts';
import type { RunRequest } from '../run-request.ts';
import type { Runtime } from '../runtime.ts';
import type { Drafter } from './draft.ts';
import { draftBudget, draftRequest } from './draft-budget.ts';
import { LookupDrafter, lookupBytes } from './lookup.ts';
import { checkSameTokens, ModelDrafter } from './model-draft.ts';
import { type RetiredDraft, Retirement } from './retirement.ts';

/**
 * The source of proposals: the text itself, or a small model with the same tokens, which the caller closes.
 */
export type DraftSource = 'lookup' | Model;

/**
 * Rows of a draft's head that are used (`OpenOptions.headRows`): tokenizers number frequent tokens first,
 * and of code and prose 96 to 99% of the tokens are among the first 65,536 of a vocabulary of 152,000.
 */
export const draftHeadRows = 65_536;

/**
 * The most tokens proposed for a pass, unless the caller gives a number. Kernels multiply up to eight
 * positions with a row of weights at once, and a model's proposals are seldom all right: so a pass has up to
 * eight.
 */
export const usualDraftTokens = { lookup: 12, model: 7 };

export interface DraftOptions {
  readonly source: DraftSource;
  /** The most tokens proposed for a pass; default: `usualDraftTokens`. */
  readonly most?: number | undefined;
  /**
   * Bytes for a draft model; default: the number with which passes and proposals take the least time
   * (`draftBudget`).
   */
  readonly bytes?: number | undefined;
  /** Propose as many tokens as possible, even at a loss; for measurements. */
  readonly always?: boolean;
  /**
   * Called once if a draft model does not pay: it is closed, and the model has its memory. With `always`, or
   * where the model has no use for the memory, this never happens.
   */
  readonly onRetired?: (draft: RetiredDraft) => void;
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
  const drafted = { ...request, draftTokens: most ?? usualDraftTokens.model };
  return { ...drafted, draftBytes: draftBudget(model, source, drafted, bytes) };
}

/**
 * Bytes that each proposed token is expected to read from flash.
 * @param request made by {@link withDraft}
 */
export function draftReads(request: RunRequest, { source }: DraftOptions): number {
  const { draftBytes: budget } = request;
  if (source === 'lookup' || budget === undefined) return 0;
  return source.plan(draftRequest(source, request, budget)).streamedBytes;
}

export interface OpenDraft {
  readonly drafter: Drafter;
  /** Must be called before the runtime closes. */
  close(): Promise<void>;
}

/**
 * Opens a draft beside a runtime.
 * @param request what the runtime was opened for, made by {@link withDraft}
 */
export async function openDraft(
  runtime: Runtime,
  request: RunRequest,
  { source, bytes, always = false, onRetired }: DraftOptions,
  onProgress?: (doneBytes: number, totalBytes: number) => void,
  signal?: AbortSignal,
): Promise<OpenDraft> {
  const { plan, passTimes } = runtime;
  // A small budget has room for the logits of fewer.
  const most = Math.max(0, plan.logitPositions - plan.kvCache.sequences);
  if (source === 'lookup') {
    return { drafter: new LookupDrafter({ passTimes, most, always }), close: async () => {} };
  }
  // The bytes left for the draft: finding them again would take as many plans as before.
  const { draftBytes: budget = draftBudget(runtime.model, source, request, bytes) } = request;
  const own = draftRequest(source, request, budget);
  const draft = await runtime.openBeside(source, own, onProgress, signal);
  const extension = always ? null : usefulExtension(runtime, request, draft);
  const retirement = extension
    ? new Retirement({ runtime, draft, extension, onRetired })
    : undefined;
  const drafter = new ModelDrafter({ passTimes, most, draft, always, retirement });
  return { drafter, close: () => draft.close() };
}

/** The least share of a token's time that the draft's memory must save to be taken over. */
const leastSaved = 0.03;

/** What the runtime would gain from the draft's memory; null where that is hardly anything. */
function usefulExtension(
  { model, plan }: Runtime,
  request: RunRequest,
  draft: Runtime,
): PlanExtension | null {
  const { residency = 'all' } = request;
  // Otherwise the request wants weights to be streamed.
  if (residency !== 'all') return null;
  const extension = model.extension(request, plan, draft.plan.memoryBytes);
  return extension !== null && extension.relativeMs <= 1 - leastSaved ? extension : null;
}
