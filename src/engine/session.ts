/**
 * A model opened for running: the plan, the memory it fills, and forward passes over a growing
 * sequence. The way of a user is plan -> open -> prefill -> loop { forward, sample }.
 */

import { BudgetError, InputError } from '../errors.ts';
import type { Manifest } from '../flash/manifest.ts';
import { ModelFiles, type OpenOptions } from '../flash/model-files.ts';
import { predictorWeights } from '../flash/predictor-file.ts';
import { compileCore, createMemory } from '../kernels/module.ts';
import { availableThreads } from '../kernels/threads/available.ts';
import { ComputeThreads } from '../kernels/threads/pool.ts';
import { type PredictorDemand, predictorSpan } from '../memory/fixed-layout.ts';
import { NeuronStores } from '../memory/neuron-stores.ts';
import { type MemoryPlan, type PlanRequest, planFloor, planMemory } from '../memory/plan.ts';
import { availableMemory, processEstimate } from '../memory/process.ts';
import type { PolicyName } from '../memory/store-policy.ts';
import { Weights } from '../memory/weights.ts';
import { loadTokenizer, type Tokenizer } from '../tokenizer/tokenizer.ts';
import { resolveSize, type Size } from '../units.ts';
import { Arena, RemoteArena } from './arena.ts';
import { Decoder, type DecoderParts, type LogitsWanted } from './decoder.ts';
import { ListArena } from './list-arena.ts';
import { predictorDemand } from './predictor.ts';
import { SparseFfn } from './sparse-ffn.ts';
import { StatsRecorder } from './stats.ts';

/** Positions of a prompt that are processed at once, at most. */
const prefillChunk = 64;

/** A model directory, opened but not loaded: enough to tokenize and to plan. */
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
    const { context, logits = 'last', chunk = prefillChunk, memoryLimit, exact = false } = request;
    return {
      manifest: this.manifest,
      processBytes: this.#processBytes,
      context,
      chunk: Math.min(chunk, context),
      logits,
      threads,
      predictors: exact ? null : this.predictors,
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
  readonly logits?: PlanRequest['logits'];
  /** Whether every neuron is computed although there are predictors. */
  readonly exact?: boolean;
  /** Which neurons are kept in DRAM, with predictors. */
  readonly window?: PolicyName;
  /** Positions processed at once, at most. */
  readonly chunk?: number;
  /** Threads that compute; default: as many as the process has cores and the budget room. */
  readonly threads?: number;
  /** Bytes one WebAssembly memory may have: 4 GiB, or less in tests. */
  readonly memoryLimit?: number;
}

/** Allocates the plan's memories, each with its kernels on all threads. */
async function createArenas(
  plan: MemoryPlan,
  threads: ComputeThreads,
): Promise<readonly [Arena, ...Arena[]]> {
  const module = await compileCore();
  const memory = createMemory(plan.memoryBytes);
  const kernels = await threads.kernels(memory, { module, scratch: plan.threadScratch });
  const remote: Arena[] = [];
  for (const { desk, memoryBytes } of plan.arenas) {
    const own = createMemory(memoryBytes);
    const options = { module, scratch: desk.threadScratch };
    remote.push(new RemoteArena(own, await threads.kernels(own, options), desk, memory));
  }
  return [new Arena(memory, kernels, plan.activations), ...remote];
}

/** The stores of neurons and what computes them, where the plan has predictors. */
async function openSparse(
  model: Model,
  plan: MemoryPlan,
  arenas: readonly [Arena, ...Arena[]],
  options: {
    readonly policy: PolicyName;
    readonly onProgress?: ((done: number, total: number) => void) | undefined;
    readonly signal?: AbortSignal | undefined;
  },
): Promise<SparseFfn | null> {
  const { sparse, activations } = plan;
  if (sparse === null) return null;
  const { files } = model;
  const [main] = arenas;
  const tensors = predictorWeights(sparse.set);
  const span = predictorSpan(sparse.set);
  if (span !== null) await files.readTensors(tensors, span, main.memory, sparse.address);
  const places = [
    { ...activations, staging: sparse.staging },
    ...plan.arenas.map(({ desk }) => desk),
  ];
  const lists = arenas.map(({ memory, kernels }, index) => {
    const place = places[index];
    if (!place?.lists) throw new Error('the plan has no room for lists');
    return new ListArena(memory, kernels, { ...place, ...place.lists }, main.memory);
  });
  const memories = arenas.map(({ memory }) => memory);
  const { policy, onProgress, signal } = options;
  const stores = await NeuronStores.load(files, sparse, memories, policy, onProgress, signal);
  return new SparseFfn({ files, plan, arenas: lists, kernels: main.kernels, stores });
}

/** A running model: weights loaded, one sequence in the KV cache. */
export class Session {
  readonly model: Model;
  readonly plan: MemoryPlan;
  readonly stats: StatsRecorder;
  readonly #threads: ComputeThreads;
  readonly #weights: Weights;
  readonly #decoder: Decoder;
  #length = 0;
  #busy = false;

  private constructor(
    model: Model,
    plan: MemoryPlan,
    threads: ComputeThreads,
    { weights, decoder, sparse }: Pick<DecoderParts, 'weights' | 'sparse'> & { decoder: Decoder },
  ) {
    this.model = model;
    this.plan = plan;
    this.#threads = threads;
    this.#weights = weights;
    this.#decoder = decoder;
    this.stats = new StatsRecorder({ files: model.files, plan, weights, decoder, sparse });
  }

  /** Plans, allocates once, and loads what stays in DRAM. */
  static async open(
    model: Model,
    request: RunRequest,
    onProgress?: (doneBytes: number, totalBytes: number) => void,
    signal?: AbortSignal,
  ): Promise<Session> {
    const plan = model.plan(request);
    const threads = await ComputeThreads.start(plan.threads);
    try {
      const arenas = await createArenas(plan, threads);
      const memories = arenas.map(({ memory }) => memory);
      const weights = await Weights.load(model.files, plan, memories, onProgress, signal);
      const policy = request.window ?? 'auto';
      const sparse = await openSparse(model, plan, arenas, { policy, onProgress, signal });
      const decoder = new Decoder({ files: model.files, plan, arenas, weights, sparse });
      return new Session(model, plan, threads, { weights, decoder, sparse });
    } catch (error) {
      await threads.close();
      throw error;
    }
  }

  /** Positions in the KV cache. */
  get length(): number {
    return this.#length;
  }

  /** Forgets the sequence, or its end beyond `length` positions. */
  rewind(length = 0): void {
    this.#length = Math.min(length, this.#length);
  }

  /**
   * Appends `ids` in chunks and computes logits.
   * @param onLogits for `all`: called for each chunk with (positions, vocab) logits, valid only
   * during the call, and the index in `ids` of its first
   * @returns for `last`: the logits (vocab) of the last position, valid until the next call
   */
  async forward(
    ids: readonly number[],
    wanted: LogitsWanted = 'last',
    options: {
      onLogits?: (logits: Float32Array, first: number) => void;
      signal?: AbortSignal;
    } = {},
  ): Promise<Float32Array> {
    const { vocabSize } = this.model.manifest.spec;
    const strange = ids.find((id) => !Number.isInteger(id) || id < 0 || id >= vocabSize);
    if (strange !== undefined) {
      throw new InputError(`${strange} is no token: the model has ids 0 to ${vocabSize - 1}`);
    }
    if (this.#busy) throw new Error('a forward pass is under way; wait for it first');
    if (this.#length + ids.length > this.plan.context) {
      throw new InputError(
        `the sequence of ${this.#length + ids.length} tokens is longer than the context of ` +
          `${this.plan.context} that was planned`,
      );
    }
    let logits: Float32Array = new Float32Array(0);
    const { chunk: planned, logitPositions } = this.plan;
    const size = wanted === 'all' ? Math.min(planned, logitPositions) : planned;
    for (let at = 0; at < ids.length; at += size) {
      const chunk = ids.slice(at, at + size);
      const last = at + chunk.length === ids.length;
      const now = wanted === 'last' && !last ? 'none' : wanted;
      this.#busy = true;
      try {
        logits = await this.#decoder.forward(chunk, this.#length, now, options.signal);
      } catch (error) {
        await this.#weights.reset(); // the pass was broken off; the next one begins anew
        throw error;
      } finally {
        this.#busy = false;
      }
      this.#length += chunk.length;
      if (wanted === 'all') options.onLogits?.(logits, at);
    }
    return logits;
  }

  /**
   * The logits of every position of a sequence, from an empty KV cache.
   * @returns (ids.length, vocab)
   */
  async logits(ids: readonly number[]): Promise<Float32Array> {
    const { vocabSize } = this.model.manifest.spec;
    const all = new Float32Array(ids.length * vocabSize);
    this.rewind();
    const onLogits = (logits: Float32Array, first: number) => all.set(logits, first * vocabSize);
    await this.forward(ids, 'all', { onLogits });
    return all;
  }

  /** Ends the threads and waits until no read is in flight, so that the model may be closed. */
  async close(): Promise<void> {
    await Promise.all([this.#threads.close(), this.#weights.reset()]);
  }
}
