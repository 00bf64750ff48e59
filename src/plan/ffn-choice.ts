/**
 * Whether predictors pay at a budget. They take memory that weights would have, and each run of missed
 * neurons is a read of its own: of models that are hardly sparse, and with little memory, every neuron
 * computed can be faster. Both plans are made and the cheaper one is taken, so that predictors never
 * slow a model down knowingly.
 */

import type { FfnChoice, FfnWay, LayerChoice } from './ffn-way.ts';
import type { MemoryPlan } from './memory-plan.ts';
import { planMemory } from './plan-memory.ts';
import type { PlanRequest } from './request.ts';
import { type LayerCost, type TokenCost, tokenCost } from './token-cost.ts';

/**
 * Every neuron computed must save 15% of the time, as estimates are off by as much, and at least 5 ms
 * before predictors are left aside: the output is then that of the exact model, and who gives another
 * budget should not get another text for less.
 */
const clearly = 0.15;
const leastMs = 5;
/** Reads that bring this share of what is not in DRAM pass over all of it. */
const nearlyAll = 0.9;

/**
 * The cheaper of two plans of a model that has predictors: with them, or with every neuron computed.
 * @throws BudgetError below the floor with predictors
 */
export function planCheaper(request: PlanRequest): MemoryPlan {
  const withPredictors = planMemory({ ...request, sparse: true });
  const without = planMemory({ ...request, predictors: null, sparse: false });
  const sparseCost = tokenCost(withPredictors, request);
  const exactCost = tokenCost(without, request);
  const savedMs = sparseCost.totalMs - exactCost.totalMs;
  const sparse = savedMs < leastMs || savedMs < clearly * sparseCost.totalMs;
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
