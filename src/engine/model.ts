/** A model directory, opened but not loaded: enough to tokenize and to plan. */

import { readLimits } from '../flash/device-profile.ts';
import { type Manifest, rowsOf } from '../flash/manifest.ts';
import { ModelFiles, type OpenOptions } from '../flash/model-files.ts';
import { tensorNames } from '../models/spec.ts';
import type { PredictorDemand } from '../plan/fixed-layout.ts';
import type { MemoryPlan } from '../plan/memory-plan.ts';
import { processEstimate } from '../plan/process.ts';
import type { PolicyName } from '../residency/store-policy.ts';
import { StoreSimulation } from '../residency/store-simulation.ts';
import type { Tokenizer } from '../tokenizer/tokenizer.ts';
import type { Size } from '../units.ts';
import { openTokenizer } from './model-tokenizer.ts';
import { predictorDemand } from './predictor.ts';
import {
  type Budget,
  budgetOf,
  choiceWithoutDraft,
  extensionOfRun,
  floorOfRun,
  type PlanExtension,
  type Plannable,
  type Planned,
  planRun,
  tokenMsOfRun,
  weightBytesOf,
} from './run-plan.ts';
import type { RunRequest } from './run-request.ts';

export class Model implements Plannable {
  readonly files: ModelFiles;
  readonly tokenizer: Tokenizer;
  /** Null when predict-train has not been run. */
  readonly predictors: PredictorDemand | null;
  /** Measured once, so that the floor that a message names stays the same. */
  readonly #processBytes: number;

  private constructor(files: ModelFiles, tokenizer: Tokenizer, predictors: PredictorDemand | null) {
    this.predictors = predictors;
    this.files = files;
    this.tokenizer = tokenizer;
    this.#processBytes = processEstimate(files.manifest);
  }

  /** @throws InputError when the directory is not an intact model */
  static async open(dir: string, options: OpenOptions = {}): Promise<Model> {
    const files = await ModelFiles.open(dir, options);
    try {
      const { manifest } = files;
      // A draft's head may have fewer rows than there are tokens.
      const vocabSize = rowsOf(files.tensor(tensorNames.tokens)).rows;
      const spec = { ...manifest.spec, vocabSize };
      const tokenizer = await openTokenizer(dir, { ...manifest, spec });
      return new Model(files, tokenizer, await predictorDemand(files));
    } catch (error) {
      files.close();
      throw error;
    }
  }

  get manifest(): Manifest {
    return this.files.manifest;
  }

  /** Bytes of all weights, which a budget such as `50%` is a share of. */
  get weightBytes(): number {
    return weightBytesOf(this.manifest);
  }

  /** Plans `budget` for `sequences` of up to `context` positions. */
  plan(request: RunRequest): MemoryPlan {
    return planRun(this.#planned, request);
  }

  /** Expected milliseconds per token under {@link plan}, for comparing requests. */
  tokenMs(request: RunRequest): number {
    return tokenMsOfRun(this.#planned, request);
  }

  /**
   * What the memory of a draft would be worth to this model; null where nothing that is streamed would lie in it.
   * @param plan of this model with the draft, made for this request
   * @param memoryBytes of the draft's memory
   */
  extension(request: RunRequest, plan: MemoryPlan, memoryBytes: number): PlanExtension | null {
    return extensionOfRun(this.#planned, request, plan, memoryBytes);
  }

  /** Whether {@link plan} uses predictors for a request with a draft; undefined where nothing is to choose. */
  usesPredictors(request: RunRequest): boolean | undefined {
    return choiceWithoutDraft(this.#planned, request);
  }

  /** The smallest budget for such sequences, and its items. */
  floor(request: Omit<RunRequest, 'budget'>): ReturnType<typeof floorOfRun> {
    return floorOfRun(this.#planned, request);
  }

  get #planned(): Planned {
    const { manifest, predictors } = this;
    const readCosts = this.files.scheduler.profile;
    return { manifest, predictors, processBytes: this.#processBytes, readCosts };
  }

  /** The budget in bytes: the requested one, or nine tenths of the memory that is available. */
  budgetOf(size: Size | undefined): Budget {
    return budgetOf(size, this.weightBytes);
  }

  close(): void {
    this.files.close();
  }
}

/** The neuron stores that generation would have under a plan, without a byte read. */
export function simulateStores(
  model: Model,
  { sparse, predictors }: MemoryPlan,
  policy: PolicyName,
): StoreSimulation | null {
  if (sparse === null || predictors === null) return null;
  const layers = model.manifest.layers.flatMap(({ bundleBytes }, index) => {
    const demand = predictors.layers[index];
    const slots = sparse.stores[index]?.slots ?? 0;
    return demand === undefined ? [] : [{ ...demand, bundleBytes, slots }];
  });
  return new StoreSimulation(layers, policy, readLimits(model.files.scheduler.profile));
}
