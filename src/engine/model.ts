/** A model directory, opened but not loaded: enough to tokenize and to plan. */

import { type KvDType, kvDTypes } from '../dtype.ts';
import { BudgetError, InputError } from '../errors.ts';
import type { Manifest } from '../flash/manifest.ts';
import { ModelFiles, type OpenOptions } from '../flash/model-files.ts';
import { availableThreads } from '../kernels/threads/available.ts';
import type { PredictorDemand } from '../memory/fixed-layout.ts';
import {
  type MemoryPlan,
  type PlanRequest,
  planFloor,
  planMemory,
  type Residency,
} from '../memory/plan.ts';
import { availableMemory, processEstimate } from '../memory/process.ts';
import type { PolicyName } from '../memory/store-policy.ts';
import { StoreSimulation } from '../memory/store-simulation.ts';
import { loadTokenizer, type Tokenizer } from '../tokenizer/tokenizer.ts';
import { resolveSize, type Size } from '../units.ts';
import { predictorDemand } from './predictor.ts';

/** Positions of a prompt that are processed at once, at most. */
const prefillChunk = 64;

export class Model {
  readonly files: ModelFiles;
  readonly tokenizer: Tokenizer;
  /** Null when predict-train has not been run. */
  readonly predictors: PredictorDemand | null;
  /** Taken once, so that a floor once told stays the floor. */
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
      const tokenizer = await loadTokenizer(dir, files.manifest.spec);
      return new Model(files, tokenizer, await predictorDemand(files));
    } catch (error) {
      files.close();
      throw error;
    }
  }

  get manifest(): Manifest {
    return this.files.manifest;
  }

  /** Bytes of all weights, as `50%` of a budget counts them. */
  get weightBytes(): number {
    return [...this.manifest.tensors.values()].reduce((sum, { bytes }) => sum + bytes, 0);
  }

  /** Plans `budget` for sequences of up to `context` positions. */
  plan(request: RunRequest): MemoryPlan {
    const { maxPositions } = this.manifest.spec;
    const { context, budget } = request;
    if (!Number.isInteger(context) || context < 1 || context > maxPositions) {
      throw new InputError(`the context must be 1 to ${maxPositions} positions, not ${context}`);
    }
    if (!kvDTypes.includes(request.kvDtype ?? 'f32')) {
      throw new InputError(`keys and values are kept in ${kvDTypes.join(' or ')}`);
    }
    if (!(budget > 0)) throw new InputError(`the budget must be a number of bytes, not ${budget}`);
    const plan = (threads: number) =>
      planMemory({ ...this.#planRequest(request, threads), dramBudget: request.budget });
    if (request.threads !== undefined) return plan(request.threads);
    try {
      return plan(availableThreads());
    } catch (error) {
      if (!(error instanceof BudgetError)) throw error;
      return plan(1); // each thread takes memory, too
    }
  }

  /** The smallest budget for such sequences, and what it consists of. */
  floor(request: Omit<RunRequest, 'budget'>): ReturnType<typeof planFloor> {
    return planFloor(this.#planRequest(request, request.threads ?? 1));
  }

  #planRequest(request: Omit<RunRequest, 'budget'>, threads: number) {
    const { context, logits = 'last', chunk = prefillChunk, memoryLimit, ffn = 'sparse' } = request;
    const predictors = ffn === 'exact' ? null : this.predictors;
    return {
      manifest: this.manifest,
      processBytes: this.#processBytes,
      context,
      kvDtype: request.kvDtype ?? 'f32',
      chunk: Math.min(chunk, context),
      logits,
      threads,
      predictors,
      sparse: predictors !== null && ffn === 'sparse',
      residency: request.residency ?? 'all',
      ...(memoryLimit === undefined ? {} : { memoryLimit }),
    };
  }

  /** The budget in bytes: what was asked for, or nine tenths of what the machine can give. */
  budgetOf(size: Size | undefined): { bytes: number; source: 'asked' | 'machine' | 'cgroup' } {
    if (size !== undefined) {
      return { bytes: resolveSize(size, this.weightBytes), source: 'asked' };
    }
    const { bytes, source } = availableMemory();
    return { bytes: Math.floor(bytes * 0.9), source };
  }

  close(): void {
    this.files.close();
  }
}

export interface RunRequest {
  /** Bytes for the whole process. */
  readonly budget: number;
  /** The longest sequence, prompt and generated tokens together. */
  readonly context: number;
  /**
   * What keys and values are kept in, f32 by default. f16 takes half the memory; the output is no
   * longer that of the exact model, but still the same at every budget.
   */
  readonly kvDtype?: KvDType;
  readonly logits?: PlanRequest['logits'];
  /**
   * What the FFNs compute where there are predictors: only what is wanted, every neuron all the same,
   * or every neuron with the predictors there to be measured.
   */
  readonly ffn?: 'sparse' | 'exact' | 'measured';
  /** Which weights may stay in DRAM; all by default. */
  readonly residency?: Residency;
  /** Which neurons are kept in DRAM, with predictors. */
  readonly window?: PolicyName;
  /** Positions processed at once, at most. */
  readonly chunk?: number;
  /** Threads that compute; default: as many as the process has cores and the budget room. */
  readonly threads?: number;
  /** Bytes one WebAssembly memory may have: 4 GiB, or less in tests. */
  readonly memoryLimit?: number;
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
  return new StoreSimulation(layers, policy, model.files.scheduler.profile);
}
