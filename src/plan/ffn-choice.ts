/**
 * Decides whether predictors pay at a budget. They take memory from weights, and each run of missed neurons
 * needs a separate read: for models that are hardly sparse, and with little memory, computing every neuron
 * can be faster. Both plans are made and the cheaper one is used, so that predictors are not used where they
 * are expected to slow a model down.
 */

import type { FfnChoice, FfnWay, LayerChoice } from './ffn-way.ts';
import type { MemoryPlan } from './memory-plan.ts';
import { planMemory } from './plan-memory.ts';
import type { PlanRequest } from './request.ts';
import { type LayerCost, type TokenCost, tokenCost } from './token-cost.ts';

/**
 * Predictors are left out only if computing every neuron saves 15% of the time, as estimates are off by as
 * much, and at least 5 ms: without predictors the output is that of the exact model, and a change of the
 * budget should not change the text for a smaller gain.
 */
const clearly = 0.15;
const leastMs = 5;
/** Reads of this share of the rows that are not in DRAM count as reading all of them. */
const nearlyAll = 0.9;

/**
 * The cheaper of two plans of a model that has predictors: with predictors, or with every neuron computed.
 * @param decided whether predictors are used, if that was decided before
 * @throws BudgetError below the floor with predictors
 */
export function planCheaper(request: PlanRequest, decided?: boolean): MemoryPlan {
  const withPredictors = planMemory({ ...request, sparse: true });
  const without = planMemory({ ...request, predictors: null, sparse: false });
  const sparseCost = tokenCost(withPredictors, request);
  const exactCost = tokenCost(without, request);
  const savedMs = sparseCost.totalMs - exactCost.totalMs;
  const sparse = decided ?? (savedMs < leastMs || savedMs < clearly * sparseCost.totalMs);
  const choice: FfnChoice = {
    sparse,
    sparseMs: sparseCost.totalMs,
    exactMs: exactCost.totalMs,
    layers: layerChoices(request, sparse, sparseCost, exactCost),
  };
  return { ...(sparse ? withPredictors : without), choice };
}

function layerChoices(
  { predictors }: PlanRequest,
  sparse: boolean,
  sparseCost: TokenCost,
  exactCost: TokenCost,
): LayerChoice[] {
  return sparseCost.layers.map((cost, index) => {
    const exact = exactCost.layers[index] ?? cost;
    const predicted = (predictors?.set.layers[index] ?? null) !== null;
    return {
      way: !sparse || !predicted ? 'exact' : wayOf(cost),
      sparseMs: cost.computeMs + cost.missMs,
      exactMs: exact.computeMs + exact.streamMs,
    };
  });
}

function wayOf({ readBytes, absentBytes }: LayerCost): FfnWay {
  return absentBytes > 0 && readBytes >= nearlyAll * absentBytes ? 'whole' : 'chosen';
}
