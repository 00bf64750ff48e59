/**
 * A model loaded for running: threads, memories, weights and neuron stores, all created once from a plan, and
 * its open sequences. Callers go from open to sequence to generate.
 */

import { compileCore } from '../kernels/module.ts';
import { ComputeThreads } from '../kernels/threads/pool.ts';
import { createMemory } from '../pages.ts';
import type { MemoryPlan } from '../plan/memory-plan.ts';
import { ExpertStores } from '../residency/expert-stores.ts';
import { HeadProposal } from '../residency/head-proposal.ts';
import type { PageList } from '../residency/kv-pages.ts';
import type { PolicyName } from '../residency/store-policy.ts';
import { UnitStores } from '../residency/unit-stores.ts';
import { Weights } from '../residency/weights.ts';
import { AllActivations } from './all-activations.ts';
import { Arena, RemoteArena } from './arena.ts';
import { Batcher } from './batcher.ts';
import { ListArena } from './list-arena.ts';
import type { LoadedModel } from './loaded-model.ts';
import type { Model } from './model.ts';
import { PassTimes } from './pass-times.ts';
import { Predictor } from './predictor.ts';
import type { RunRequest } from './run-request.ts';
import { Sequence } from './sequence.ts';
import { SparseFfn } from './sparse-ffn.ts';
import { RuntimeStats } from './stats.ts';
import { Transformer } from './transformer.ts';

/** Allocates the plan's memories, each with its kernels on all threads; `exact`: see {@link Arena}. */
async function createArenas(
  plan: MemoryPlan,
  threads: ComputeThreads,
  exact: boolean,
): Promise<[Arena, ...Arena[]]> {
  const module = await compileCore();
  const memory = createMemory(plan.memoryBytes);
  const kernels = await threads.kernels(memory, { module, scratch: plan.threadScratch });
  const remote: Arena[] = [];
  for (const { transfer, memoryBytes } of plan.arenas) {
    const own = createMemory(memoryBytes);
    const options = { module, scratch: transfer.threadScratch };
    remote.push(new RemoteArena(own, await threads.kernels(own, options), transfer, memory, exact));
  }
  return [new Arena(memory, kernels, plan.activations, exact), ...remote];
}

/** Opens the FFN that computes only wanted neurons; null where the plan computes every neuron. */
async function openSparse(
  model: Model,
  plan: MemoryPlan,
  arenas: readonly [Arena, ...Arena[]],
  weights: Weights,
  predictor: Predictor | null,
  options: {
    readonly policy: PolicyName;
    readonly onProgress?: ((done: number, total: number) => void) | undefined;
    readonly signal?: AbortSignal | undefined;
  },
): Promise<SparseFfn | null> {
  const { sparse, predictors, activations } = plan;
  if (sparse === null || predictors === null || predictor === null) return null;
  const { files } = model;
  const [main] = arenas;
  const places = [
    { ...activations, staging: sparse.staging, keptDowns: activations.all?.downs ?? 0 },
    ...plan.arenas.map(({ transfer }) => ({ ...transfer, keptDowns: transfer.downs })),
  ];
  const lists = arenas.map(({ memory, kernels }, index) => {
    const place = places[index];
    if (!place?.lists) throw new Error('the plan has no room for lists');
    return new ListArena(memory, kernels, { ...place, ...place.lists }, main.memory);
  });
  const { policy, onProgress, signal } = options;
  const wanted = { stores: sparse.stores, demand: predictors.layers };
  const stores = await UnitStores.load(files, wanted, arenas, policy, onProgress, signal);
  const { chunk } = plan;
  const all = AllActivations.at(activations.all, { files, arenas, weights });
  return new SparseFfn({ files, arenas: lists, selector: predictor, stores, chunk, all });
}

async function openPredictor(
  { files }: Model,
  plan: MemoryPlan,
  { memory, kernels }: Arena,
): Promise<Predictor | null> {
  if (plan.predictors === null) return null;
  const predictor = new Predictor(memory, kernels, plan, files.manifest.spec);
  await predictor.load(files);
  return predictor;
}

interface LoadOptions {
  readonly threads: ComputeThreads;
  /** Releases them. */
  readonly close: () => Promise<void>;
  readonly onProgress?: ((doneBytes: number, totalBytes: number) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

interface RuntimeParts extends Pick<LoadOptions, 'threads' | 'close'> {
  readonly weights: Weights;
  readonly transformer: Transformer;
  readonly sparse: SparseFfn | null;
  readonly experts: ExpertStores | null;
  readonly predictor: Predictor | null;
  /** The plan's memories. All other parts have this list, so that they see an arena that is added to it. */
  readonly arenas: [Arena, ...Arena[]];
}

export class Runtime implements LoadedModel {
  readonly model: Model;
  readonly stats: RuntimeStats;
  readonly predictor: Predictor | null;
  readonly memory: WebAssembly.Memory;
  readonly passTimes = new PassTimes();
  readonly #parts: RuntimeParts;
  readonly #batcher: Batcher;
  #plan: MemoryPlan;

  private constructor(model: Model, plan: MemoryPlan, parts: RuntimeParts) {
    const { weights, transformer, sparse, experts } = parts;
    this.model = model;
    this.#plan = plan;
    this.predictor = parts.predictor;
    this.memory = parts.arenas[0].memory;
    this.#parts = parts;
    const { files } = model;
    this.stats = new RuntimeStats({ files, plan, weights, transformer, sparse, experts });
    this.#batcher = new Batcher({
      transformer,
      vocabSize: model.manifest.spec.vocabSize,
      chunk: plan.chunk,
      logitPositions: plan.logitPositions,
      shared: plan.kvCache.sequences > 1,
      passTimes: this.passTimes,
      reset: () => weights.reset(),
    });
  }

  /**
   * Plans, allocates all memory once, and loads the resident weights.
   * @throws BudgetError when the budget is too small for the request
   */
  static async open(
    model: Model,
    request: RunRequest,
    onProgress?: (doneBytes: number, totalBytes: number) => void,
    signal?: AbortSignal,
  ): Promise<Runtime> {
    const plan = model.plan(request);
    const threads = await ComputeThreads.start(plan.threads);
    const close = () => threads.close();
    return Runtime.#load(model, plan, request, { threads, close, onProgress, signal });
  }

  /**
   * Opens a model on the threads of this runtime, which must be closed after it.
   * @param request with as many threads as this one's plan, and `beside`
   */
  async openBeside(
    model: Model,
    request: RunRequest,
    onProgress?: (doneBytes: number, totalBytes: number) => void,
    signal?: AbortSignal,
  ): Promise<Runtime> {
    const { threads } = this.#parts;
    const close = async () => {};
    const plan = model.plan({ ...request, threads: threads.threads });
    return Runtime.#load(model, plan, request, { threads, close, onProgress, signal });
  }

  static async #load(
    model: Model,
    plan: MemoryPlan,
    request: RunRequest,
    { threads, close, onProgress, signal }: LoadOptions,
  ): Promise<Runtime> {
    try {
      const arenas = await createArenas(plan, threads, request.ffn === 'exact');
      const weights = await Weights.load(model.files, plan, arenas, onProgress, signal);
      const policy = request.window ?? 'auto';
      const predictor = await openPredictor(model, plan, arenas[0]);
      const options = { policy, onProgress, signal };
      const sparse = await openSparse(model, plan, arenas, weights, predictor, options);
      const { files } = model;
      const headProposal = await HeadProposal.load(files, plan, arenas, onProgress, signal);
      const experts =
        plan.experts &&
        (await ExpertStores.load(files, plan.experts, arenas, policy, onProgress, signal));
      const parts = { weights, sparse, experts };
      const transformer = new Transformer({ ...parts, files, plan, arenas, headProposal });
      const rest = { threads, close, transformer, predictor, arenas };
      return new Runtime(model, plan, { ...parts, ...rest });
    } catch (error) {
      await close();
      throw error;
    }
  }

  /** The plan that it runs by; another one after {@link extend}. */
  get plan(): MemoryPlan {
    return this.#plan;
  }

  /**
   * Takes over a memory that nobody uses any more, and loads weights into it that were streamed until then. Passes
   * wait meanwhile. After a failure the runtime goes on as before, and this may be tried again.
   * @param plan this runtime's, made by `Model.extension`
   * @param memory at least as large as the plan's last arena
   * @throws InterruptedError when the signal aborts; IoError, InputError when weights cannot be read
   */
  async extend(plan: MemoryPlan, memory: WebAssembly.Memory, signal?: AbortSignal): Promise<void> {
    const { threads, weights, arenas } = this.#parts;
    const transfer = plan.arenas.at(-1)?.transfer;
    if (transfer === undefined || plan.arenas.length !== arenas.length) {
      throw new Error('the plan does not extend that of this runtime by one arena');
    }
    await this.#batcher.alone(async () => {
      const options = { module: await compileCore(), scratch: transfer.threadScratch };
      const kernels = await threads.kernels(memory, options);
      const [{ memory: first, exact }] = arenas;
      arenas.push(new RemoteArena(memory, kernels, transfer, first, exact));
      try {
        await weights.extend(plan, signal);
      } catch (error) {
        arenas.pop();
        throw error;
      }
      this.#plan = plan;
    });
  }

  /**
   * A new sequence, empty.
   * @throws InputError when as many are open as were planned
   */
  sequence(): Sequence {
    return this.#adopt(this.#parts.transformer.cache.open(), []);
  }

  #adopt(pages: PageList, ids: readonly number[]): Sequence {
    const { cache } = this.#parts.transformer;
    const { vocabSize } = this.model.manifest.spec;
    // With a single sequence, nothing overwrites the logits of a pass.
    const logits = this.plan.kvCache.sequences > 1 ? new Float32Array(vocabSize) : null;
    const adopt = (shared: PageList, own: readonly number[]) => this.#adopt(shared, own);
    const parts = { runtime: this, adopt, batcher: this.#batcher, cache, logits };
    return new Sequence(parts, pages, ids);
  }

  /** Breaks off the pass in progress, ends the threads, and waits until no read is in flight. */
  async close(): Promise<void> {
    await this.#batcher.close();
    const { weights, experts } = this.#parts;
    await Promise.all([this.#parts.close(), weights.reset(), experts?.abandonGuesses()]);
  }
}
