/**
 * How much of the budget a draft model gets, and the request with which it is opened beside the other model.
 */

import { nullBelowFloor } from '../../plan/below-floor.ts';
import { rowTables, wholeBytes } from '../../plan/weight-order.ts';
import type { Model } from '../model.ts';
import type { RunRequest } from '../run-request.ts';

/** A draft's request without its bytes and without the neurons that its FFNs compute. */
type Beside = Omit<RunRequest, 'budget' | 'ffn'>;

/** @param request the model's own */
function besideRequest(draft: Model, request: Omit<RunRequest, 'budget'>): Beside {
  const { sequences = 1, bestLogits } = request;
  const context = Math.min(request.context, draft.manifest.spec.maxPositions);
  return {
    ...{ context, sequences, beside: true },
    ...(bestLogits !== undefined && { bestLogits: Math.max(2, bestLogits) }),
    ...(request.kvDtype && { kvDtype: request.kvDtype }),
    ...(request.threads !== undefined && { threads: request.threads }),
  };
}

/**
 * The request with which a draft is opened beside a model. Where it has predictors, it uses them if that is
 * expected to be faster with so many bytes; which neurons it computes changes its proposals, but no text.
 * @param request the model's own
 * @param bytes for the draft
 * @throws BudgetError when these are too few
 */
export function draftRequest(
  draft: Model,
  request: Omit<RunRequest, 'budget'>,
  bytes: number,
): RunRequest {
  return fastest(draft, besideRequest(draft, request), bytes).request;
}

interface Way {
  readonly request: RunRequest;
  /** Expected milliseconds per proposal. */
  readonly ms: number;
}

/**
 * Proposals with predictors take longer than the plan of a token expects: 28 ms instead of 15 for a 0.5B in q4
 * most of whose neurons are in DRAM, where all of it without predictors takes 18 ms and is expected to take 20.
 */
const sparseDelay = 1.8;

/** @throws BudgetError when the bytes are too few for either way */
function fastest(draft: Model, beside: Beside, budget: number): Way {
  const way = (ffn: 'dense' | 'sparse'): Way => {
    const request = { ...beside, budget, ffn };
    return { request, ms: draft.tokenMs(request) * (ffn === 'sparse' ? sparseDelay : 1) };
  };
  if (draft.predictors === null) return way('dense');
  const sparse = nullBelowFloor(() => way('sparse'));
  if (sparse === null) return way('dense');
  const dense = nullBelowFloor(() => way('dense'));
  return dense !== null && dense.ms < sparse.ms ? dense : sparse;
}

/** Shares of the draft's whole size that are tried. */
const shares = [0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7, 0.85];
/**
 * Typical number of tokens proposed for a pass: the draft's time counts this many times for one pass of the
 * model.
 */
const usually = 4;

/**
 * Bytes for a draft beside a model. Without predictors, the draft gets room for all its weights: it passes
 * over them several times for each pass of the model, so that reading a part of them would take longer than
 * the memory left to the model saves. With predictors, some neurons are hardly ever wanted: then both models
 * are planned for several shares, and the share with the shortest expected time of a pass and its proposals
 * is chosen. One of the candidates is all of the draft without its predictors: a draft in few bits may be
 * smaller as a whole than its predictors and half of its neurons (330 MB, 60 MB of them predictors, of a
 * 0.5B in q4), and it reads nothing.
 * @param request the model's own
 * @param asked the most bytes for it, if the caller limits them
 * @throws BudgetError when these are below the draft's floor
 */
export function draftBudget(
  model: Model,
  draft: Model,
  request: RunRequest,
  asked = Number.POSITIVE_INFINITY,
): number {
  const beside = besideRequest(draft, request);
  const dense = wholeBudget(draft, { ...beside, ffn: 'dense' });
  // Too little is refused before the model is loaded.
  if (asked < dense) fastest(draft, beside, asked);
  if (draft.predictors === null) return Math.min(dense, asked);
  const whole = wholeBudget(draft, { ...beside, ffn: 'sparse' });
  const candidates = [1, ...shares].map((share) => Math.floor(share * whole)).concat(dense);
  // What does not depend on the draft is decided once, and not for each share.
  const sparse = model.usesPredictors(request);
  const decided =
    sparse === undefined
      ? request
      : { ...request, ffn: sparse ? ('sparse' as const) : ('dense' as const) };
  let [best, leastMs] = [Math.min(whole, asked), Number.POSITIVE_INFINITY];
  for (const bytes of new Set(candidates.map((bytes) => Math.min(bytes, asked)))) {
    const ms = passMs(model, draft, decided, beside, bytes);
    if (ms < leastMs) [best, leastMs] = [bytes, ms];
  }
  return best;
}

/**
 * Expected time of a pass of the model and of its proposals; infinite where either model has too little
 * memory.
 */
function passMs(
  model: Model,
  draft: Model,
  request: RunRequest,
  beside: Beside,
  bytes: number,
): number {
  const ms = nullBelowFloor(
    () =>
      model.tokenMs({ ...request, draftBytes: bytes }) + usually * fastest(draft, beside, bytes).ms,
  );
  return ms ?? Number.POSITIVE_INFINITY;
}

/** Bytes with which a draft streams nothing; of embedding tables it reads a row for each token. */
function wholeBudget(draft: Model, beside: Omit<RunRequest, 'budget'>): number {
  const generous = draft.plan({ ...beside, budget: Number.MAX_SAFE_INTEGER });
  const tables = rowTables(draft.manifest).filter((table) => generous.residences.has(table));
  const needed =
    generous.items.reduce((sum, { bytes }) => sum + bytes, 0) -
    tables.reduce((sum, table) => sum + wholeBytes(table), 0);
  // A margin: each tensor's place begins at a sector, and without spare room neurons are evicted and read
  // again.
  let spare = leastSpare;
  const streams = (budget: number) => draft.plan({ ...beside, budget }).streamedBytes > 0;
  while (spare < mostSpare && streams(needed + spare)) spare *= 2;
  return needed + spare;
}

const leastSpare = 64 * 1024;
const mostSpare = 64 * 1024 * 1024;
