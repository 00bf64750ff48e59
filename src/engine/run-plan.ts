/** Plans of a run, for a converted model and for one that is yet to be converted. */

import { checkAddresses } from '../address-space.ts';
import { kvDTypes } from '../dtype.ts';
import { InputError } from '../errors.ts';
import type { Manifest } from '../flash/manifest.ts';
import { availableThreads } from '../kernels/threads/available.ts';
import { type AvailableMemory, defaultBudget } from '../plan/available.ts';
import { nullBelowFloor } from '../plan/below-floor.ts';
import { extendPlan } from '../plan/extend-plan.ts';
import { planCheaper } from '../plan/ffn-choice.ts';
import type { PredictorDemand } from '../plan/fixed-layout.ts';
import type { MemoryPlan } from '../plan/memory-plan.ts';
import type { ReadCosts } from '../plan/miss-cost.ts';
import { planFloor, planMemory } from '../plan/plan-memory.ts';
import { modelEstimate, processEstimate } from '../plan/process.ts';
import { tokenCost } from '../plan/token-cost.ts';
import { resolveSize, type Size } from '../units.ts';
import { mostSequences, type RunRequest } from './run-request.ts';

/** The most positions of a prompt that are processed at once. */
const prefillChunk = mostSequences;
/**
 * The same for a mixture of experts. A chunk of any length wants nearly all experts, and reads and unpacks
 * those that have no slot: one chunk of 2048 positions reads a quarter of what four chunks of 512 do.
 */
const mixtureChunk = 2048;
/** The same where several sequences share passes, and the others wait for the end of a chunk. */
const sharedMixtureChunk = 512;

/** A model that can be planned for, converted or not. */
export interface Plannable {
  readonly manifest: Manifest;
  readonly weightBytes: number;
  plan(request: RunRequest): MemoryPlan;
  floor(request: Omit<RunRequest, 'budget'>): ReturnType<typeof planFloor>;
  budgetOf(size: Size | undefined): Budget;
}

/** The plans of a model that is yet to be converted, and has no predictors. */
export function plannable(manifest: Manifest): Plannable {
  const planned = { manifest, processBytes: processEstimate(manifest), predictors: null };
  const weightBytes = weightBytesOf(manifest);
  return {
    manifest,
    weightBytes,
    plan: (request) => planRun(planned, request),
    floor: (request) => floorOfRun(planned, request),
    budgetOf: (size) => budgetOf(size, weightBytes),
  };
}

/** The inputs of a plan. */
export interface Planned {
  readonly manifest: Manifest;
  /** Bytes of the process without weights. */
  readonly processBytes: number;
  /** Null when there are none. */
  readonly predictors: PredictorDemand | null;
  readonly readCosts?: ReadCosts;
}

/**
 * Plans `budget` for `sequences` of up to `context` positions each, `positions` together.
 * @throws InputError for a request that makes no sense; BudgetError below the floor
 */
export function planRun(planned: Planned, request: RunRequest): MemoryPlan {
  const { maxPositions } = planned.manifest.spec;
  const { context, budget } = request;
  if (!Number.isInteger(context) || context < 1 || context > maxPositions) {
    throw new InputError(`the context must be 1 to ${maxPositions} positions, not ${context}`);
  }
  const { sequences = 1, positions = sequences * context } = request;
  if (!Number.isInteger(sequences) || sequences < 1 || sequences > mostSequences) {
    throw new InputError(`the number of sequences must be 1 to ${mostSequences}, not ${sequences}`);
  }
  if (!Number.isInteger(positions) || positions < context || positions > sequences * context) {
    throw new InputError(
      `the KV cache of ${sequences} sequences of up to ${context} positions must have ${context} to ` +
        `${sequences * context} positions, not ${positions}`,
    );
  }
  if (!kvDTypes.includes(request.kvDtype ?? 'f32')) {
    throw new InputError(
      `the dtype of the KV cache must be ${kvDTypes.join(' or ')}, not ${request.kvDtype}`,
    );
  }
  checkExperts(planned.manifest, request.experts);
  if (!(budget > 0)) throw new InputError(`the budget must be a number of bytes, not ${budget}`);
  const chooses = request.ffn === 'auto' && planned.predictors !== null;
  const decided = choiceWithoutDraft(planned, request);
  const plan = (threads: number) => {
    const wanted = { ...planRequest(planned, request, threads), dramBudget: request.budget };
    const made = chooses ? planCheaper(wanted, decided) : planMemory(wanted);
    const arenas = made.arenas.reduce((sum, { memoryBytes }) => sum + memoryBytes, 0);
    checkAddresses(made.memoryBytes + arenas, threads);
    return made;
  };
  if (request.threads !== undefined) return plan(request.threads);
  // Each thread takes memory, too.
  return nullBelowFloor(() => plan(availableThreads())) ?? plan(1);
}

/**
 * Whether predictors are used without the draft of a request, so that they are used with it, too: a draft
 * must not change the text. Undefined where there is no draft, nothing to choose, or no room for the model
 * alone.
 */
export function choiceWithoutDraft(planned: Planned, request: RunRequest): boolean | undefined {
  const { draftBytes = 0, draftTokens = 0 } = request;
  if (draftBytes === 0 && draftTokens === 0) return undefined;
  if (request.ffn !== 'auto' || planned.predictors === null) return undefined;
  const alone = { ...request, draftBytes: 0, draftTokens: 0 };
  return nullBelowFloor(() => planRun(planned, alone))?.choice?.sparse;
}

/**
 * Expected milliseconds per token under the plan of a request, for comparing requests.
 * @throws as {@link planRun} does
 */
export function tokenMsOfRun(planned: Planned, request: RunRequest): number {
  const plan = planRun(planned, request);
  const wanted = planRequest(planned, request, plan.threads);
  return tokenCost(plan, { ...wanted, dramBudget: request.budget }).totalMs;
}

/** A plan extended by the memory that a draft leaves. */
export interface PlanExtension {
  readonly plan: MemoryPlan;
  /** Expected time of a token, relative to that under the plan before. */
  readonly relativeMs: number;
}

/**
 * What the memory of a draft would be worth to its model.
 * @param plan made for this request
 * @param memoryBytes of the draft's memory
 * @returns null where no weight that is streamed would get a place in it
 */
export function extensionOfRun(
  planned: Planned,
  request: RunRequest,
  plan: MemoryPlan,
  memoryBytes: number,
): PlanExtension | null {
  const extended = extendPlan(plan, planned.manifest, memoryBytes);
  if (extended === null) return null;
  const wanted = planRequest(planned, request, plan.threads);
  const msUnder = (one: MemoryPlan) =>
    tokenCost(one, { ...wanted, dramBudget: request.budget }).totalMs;
  return { plan: extended, relativeMs: msUnder(extended) / msUnder(plan) };
}

/** @throws InputError when a token cannot take this number of experts in this model */
function checkExperts({ spec }: Manifest, asked: number | undefined): void {
  if (asked === undefined) return;
  const { experts } = spec.ffn;
  if (experts === undefined) {
    throw new InputError(
      'the number of experts per token cannot be changed: the model is not a mixture of experts',
      {},
      'Leave out --experts',
    );
  }
  if (!Number.isInteger(asked) || asked < 1 || asked > experts.topK) {
    throw new InputError(
      `the number of experts per token must be 1 to ${experts.topK}, as many as the model was trained with, not ${asked}`,
    );
  }
}

/** The smallest budget for such sequences, and its items. */
export function floorOfRun(
  planned: Planned,
  request: Omit<RunRequest, 'budget'>,
): ReturnType<typeof planFloor> {
  return planFloor(planRequest(planned, request, request.threads ?? 1));
}

function planRequest(
  { manifest, processBytes, predictors: all, readCosts }: Planned,
  request: Omit<RunRequest, 'budget'>,
  threads: number,
) {
  const { context, logits = 'last', memoryLimit, ffn = 'sparse' } = request;
  const isMixture = manifest.spec.ffn.experts !== undefined;
  const { sequences = 1, positions = sequences * context } = request;
  const largest = sequences === 1 ? mixtureChunk : sharedMixtureChunk;
  const { chunk = isMixture ? largest : prefillChunk } = request;
  const predictors = ffn === 'exact' || ffn === 'dense' ? null : all;
  const own = request.beside ? modelEstimate(manifest) : processBytes;
  return {
    manifest,
    processBytes: own + (request.ownBytes ?? 0),
    ...{ context, sequences, positions },
    kvDtype: request.kvDtype ?? 'f32',
    chunk: Math.min(chunk, positions),
    logits,
    threads,
    predictors,
    sparse: predictors !== null && (ffn === 'sparse' || ffn === 'auto'),
    residency: request.residency ?? 'all',
    ...(readCosts && { readCosts }),
    ...(memoryLimit === undefined ? {} : { memoryLimit }),
    ...(request.bestLogits === undefined ? {} : { bestLogits: request.bestLogits }),
    draftTokens: request.draftTokens ?? 0,
    draftBytes: request.draftBytes ?? 0,
    beside: request.beside ?? false,
    ...(request.experts === undefined ? {} : { expertsPerToken: request.experts }),
  };
}

/** Bytes of all weights, which a budget such as `50%` is a share of. */
export function weightBytesOf({ tensors }: Manifest): number {
  return [...tensors.values()].reduce((sum, { bytes }) => sum + bytes, 0);
}

/** A budget and its source. */
export interface Budget {
  readonly bytes: number;
  readonly source: 'asked' | AvailableMemory['source'];
}

/** The budget in bytes: the requested one, or nine tenths of the memory that is available. */
export function budgetOf(size: Size | undefined, weightBytes: number): Budget {
  if (size !== undefined) return { bytes: resolveSize(size, weightBytes), source: 'asked' };
  return defaultBudget();
}
