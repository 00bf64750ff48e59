/**
 * How much of the budget a draft model gets, and the request with which it is opened beside the other model.
 */

import { BudgetError } from '../../errors.ts';
import { rowTables, wholeBytes } from '../../plan/weight-order.ts';
import type { Model } from '../model.ts';
import type { RunRequest } from '../run-request.ts';

/**
 * The request with which a draft is opened beside a model, without its budget.
 * @param request the model's own
 */
export function besideRequest(
  draft: Model,
  request: Omit<RunRequest, 'budget'>,
): Omit<RunRequest, 'budget'> {
  const { sequences = 1, bestLogits } = request;
  const context = Math.min(request.context, draft.manifest.spec.maxPositions);
  return {
    ...{ context, sequences, beside: true, ffn: 'auto' as const },
    ...(bestLogits !== undefined && { bestLogits: Math.max(2, bestLogits) }),
    ...(request.kvDtype && { kvDtype: request.kvDtype }),
    ...(request.threads !== undefined && { threads: request.threads }),
  };
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
 * is chosen.
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
  const whole = wholeBudget(draft, beside, asked);
  // Too little is refused before the model is loaded.
  if (whole === asked) draft.plan({ ...beside, budget: whole });
  if (asked !== Number.POSITIVE_INFINITY || draft.predictors === null) return whole;
  // What does not depend on the draft is decided once, and not for each share.
  const sparse = model.usesPredictors(request);
  const decided =
    sparse === undefined
      ? request
      : { ...request, ffn: sparse ? ('sparse' as const) : ('exact' as const) };
  let [best, leastMs] = [whole, Number.POSITIVE_INFINITY];
  for (const share of [1, ...shares]) {
    const bytes = Math.floor(share * whole);
    const ms = passMs(model, draft, decided, { ...beside, budget: bytes });
    if (ms < leastMs) [best, leastMs] = [bytes, ms];
  }
  return best;
}

/**
 * Expected time of a pass of the model and of its proposals; infinite where either model has too little
 * memory.
 */
function passMs(model: Model, draft: Model, request: RunRequest, beside: RunRequest): number {
  try {
    const own = model.tokenMs({ ...request, draftBytes: beside.budget });
    return own + usually * draft.tokenMs(beside);
  } catch (error) {
    if (error instanceof BudgetError) return Number.POSITIVE_INFINITY;
    throw error;
  }
}

/** Bytes with which a draft streams nothing, or `most`; of embedding tables it reads a row for each token. */
function wholeBudget(draft: Model, beside: Omit<RunRequest, 'budget'>, most: number): number {
  const generous = draft.plan({ ...beside, budget: Number.MAX_SAFE_INTEGER });
  const tables = rowTables(draft.manifest).filter((table) => generous.residences.has(table));
  const needed =
    generous.items.reduce((sum, { bytes }) => sum + bytes, 0) -
    tables.reduce((sum, table) => sum + wholeBytes(table), 0);
  if (needed >= most) return most;
  // A margin: each tensor's place begins at a sector, and without spare room neurons are evicted and read
  // again.
  let spare = leastSpare;
  const streams = (budget: number) => draft.plan({ ...beside, budget }).streamedBytes > 0;
  while (spare < mostSpare && streams(needed + spare)) spare *= 2;
  return Math.min(most, needed + spare);
}

const leastSpare = 64 * 1024;
const mostSpare = 64 * 1024 * 1024;
