/**
 * The ranks that a model's predictors may have, limited by their size and by the memory that training takes.
 */

import { checkAddresses } from '../address-space.ts';
import { orderingBytes } from '../arrange/co-activation.ts';
import { rearrangingBytes } from '../arrange/rewrite.ts';
import { byteLength } from '../dtype.ts';
import type { Model } from '../engine/model.ts';
import { BudgetError, InputError } from '../errors.ts';
import { availableThreads } from '../kernels/threads/available.ts';
import { processEstimate } from '../plan/process.ts';
import { alignUp, MIB } from '../units.ts';
import { coarseRowsBytes } from './coarse-rows.ts';
import { importedRanks } from './import.ts';
import { trainingBytes } from './layer-training.ts';
import type { RankChooser } from './rank.ts';
import { type PredictTrainRequest, predictorDType, type Settings } from './settings.ts';
import { planTraining, type TrainingPlan } from './training-plan.ts';

/** Ranks are whole blocks of 32. */
const rankStep = 32;
/**
 * The highest rank is a quarter of the hidden size, as in the paper (1024 of 4096), but at most this:
 * evaluating rank 1504 took half of a layer's time at a hidden size of 2048.
 */
const smallRank = 256;
/** JavaScript's own arrays, beside the planned memory. */
export const heapBytes = 24 * MIB;
/** A share given by the user must suffice for a predictor in every layer; the default need not. */
export function checkShare(
  model: Model,
  { share, rank, importFrom }: PredictTrainRequest,
  settings: Settings,
): void {
  if (share === undefined) return;
  if ([rank, importFrom, settings.thresholdSparsity].some((value) => value !== undefined)) return;
  if (settings.method === 'rows') return;
  const { totalBytes, layers, bytesOf, step, most } = rankSizes(model, settings);
  const missing = layers * bytesOf(Math.min(step, most)) - totalBytes;
  if (missing <= 0) return;
  const percent = (value: number) => `${(Math.ceil(1000 * value) / 10).toFixed(1)}%`;
  throw new InputError(
    `--share ${percent(share)}: the smallest predictors take ` +
      `${percent(share + missing / model.weightBytes)} of this model`,
    { file: model.files.dir },
    'Give that much, or --rank',
  );
}

/** The model's properties that a rank chooser needs. */
export function rankSizes({ manifest, weightBytes }: Model, { share }: Settings) {
  const hidden = manifest.spec.hiddenSize;
  const layers = manifest.layers.length;
  const neurons = manifest.layers[0]?.neurons ?? 0;
  const vectors = (4 + 2) * neurons;
  return {
    // The header takes 760 bytes for each layer; header and file end at page boundaries.
    totalBytes: share * weightBytes - alignUp(300 + 800 * layers, 4096) - 4096,
    layers,
    bytesOf: (rank: number) =>
      rank * byteLength(predictorDType, hidden) +
      neurons * byteLength(predictorDType, rank) +
      vectors,
    step: rankStep,
    most: Math.min(
      neurons,
      Math.max(smallRank, Math.floor(hidden / 4 / rankStep) * rankStep),
      hidden,
    ),
  };
}

/** The highest rank that any layer may get; memory is planned for it. */
export async function highestRank(
  { manifest }: Model,
  { rank, importFrom, thresholdSparsity, method }: Settings,
  chooser: RankChooser,
): Promise<number> {
  if (thresholdSparsity !== undefined || method === 'rows') return manifest.spec.hiddenSize;
  if (importFrom !== undefined) return Math.max(...(await importedRanks(importFrom, manifest)));
  if (rank === undefined) return chooser.highest();
  const { hiddenSize } = manifest.spec;
  if (rank < 1 || rank > hiddenSize) {
    throw new InputError(`--rank must be from 1 to ${hiddenSize}, not ${rank}`);
  }
  return rank;
}

/** A plan for ranks up to `highest`, or for lower ones where memory is short and the user gave no rank. */
export function choosePlan(
  { manifest }: Model,
  { budget, threads, rank: fixed, importFrom, thresholdSparsity, arrange, method }: Settings,
  windows: readonly number[][],
  highest: number,
): { readonly plan: TrainingPlan; readonly rank: number } {
  const hidden = manifest.spec.hiddenSize;
  const neurons = Math.max(...manifest.layers.map((layer) => layer.neurons));
  const tries = {
    rows: method === 'rows' || method === 'auto' || thresholdSparsity !== undefined,
    factors: method !== 'rows' && thresholdSparsity === undefined,
  };
  const plan = (count: number, rank: number) => {
    const made = planTraining({
      manifest,
      dramBudget: budget,
      processBytes:
        processEstimate(manifest) +
        heapBytes +
        (arrange ? orderingBytes(neurons) + rearrangingBytes : 0),
      threads: count,
      context: windows.reduce((most, { length }) => Math.max(most, length), 0),
      tokens: windows.reduce((sum, { length }) => sum + length, 0),
      regionBytes:
        4 * neurons * hidden +
        Math.max(
          tries.rows ? coarseRowsBytes(hidden, neurons) : 0,
          tries.factors ? trainingBytes(hidden, neurons, rank) : 0,
        ),
    });
    checkAddresses(made.plan.memoryBytes, count);
    return made;
  };
  const counts = threads === undefined ? [availableThreads(), 1] : [threads];
  const free = [fixed, importFrom].every((value) => value === undefined) && tries.factors;
  let rank = highest;
  for (;;) {
    for (const count of counts) {
      try {
        return { plan: plan(count, rank), rank };
      } catch (error) {
        if (!(error instanceof BudgetError)) throw error;
        const last = count === counts.at(-1);
        const fewest = !free || rank <= rankStep;
        if (last && fewest) throw error;
      }
    }
    rank = Math.max(rankStep, Math.floor((rank * 0.75) / rankStep) * rankStep);
  }
}
