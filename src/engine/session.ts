/**
 * A model opened for running: the plan, the memory it fills, and forward passes over a growing
 * sequence. The way of a user is plan -> open -> prefill -> loop { forward, sample }.
 */

import { InputError } from '../errors.ts';
import { compileCore } from '../kernels/module.ts';
import { ComputeThreads } from '../kernels/threads/pool.ts';
import { createMemory } from '../pages.ts';
import type { MemoryPlan } from '../plan/memory-plan.ts';
import { HeadProposal } from '../residency/head-proposal.ts';
import type { PolicyName } from '../residency/store-policy.ts';
import { UnitStores } from '../residency/unit-stores.ts';
import { Weights } from '../residency/weights.ts';
import { Arena, RemoteArena } from './arena.ts';
import { Decoder, type DecoderParts } from './decoder.ts';
import type { FfnHook, LogitsWanted } from './forward-options.ts';
import { ListArena } from './list-arena.ts';
import type { Model, RunRequest } from './model.ts';
import { Predictor } from './predictor.ts';
import { SparseFfn } from './sparse-ffn.ts';
import { StatsRecorder } from './stats.ts';

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

/** What computes only wanted neurons, or null where the plan has all computed. */
async function openSparse(
  model: Model,
  plan: MemoryPlan,
  arenas: readonly [Arena, ...Arena[]],
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
    { ...activations, staging: sparse.staging },
    ...plan.arenas.map(({ desk }) => desk),
  ];
  const lists = arenas.map(({ memory, kernels }, index) => {
    const place = places[index];
    if (!place?.lists) throw new Error('the plan has no room for lists');
    return new ListArena(memory, kernels, { ...place, ...place.lists }, main.memory);
  });
  const { policy, onProgress, signal } = options;
  const wanted = { stores: sparse.stores, demand: predictors.layers };
  const stores = await UnitStores.load(files, wanted, arenas, policy, onProgress, signal);
  return new SparseFfn({ files, arenas: lists, selector: predictor, stores, chunk: plan.chunk });
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

interface SessionParts extends Pick<DecoderParts, 'weights' | 'sparse'> {
  readonly decoder: Decoder;
  readonly predictor: Predictor | null;
  readonly memory: WebAssembly.Memory;
}

/** A running model: weights loaded, one sequence in the KV cache. */
export class Session {
  readonly model: Model;
  readonly plan: MemoryPlan;
  readonly stats: StatsRecorder;
  /** Null without predictors, or where they are not asked for. */
  readonly predictor: Predictor | null;
  /** The first one. */
  readonly memory: WebAssembly.Memory;
  readonly #threads: ComputeThreads;
  readonly #weights: Weights;
  readonly #decoder: Decoder;
  #length = 0;
  #busy = false;

  private constructor(
    model: Model,
    plan: MemoryPlan,
    threads: ComputeThreads,
    { weights, decoder, sparse, predictor, memory }: SessionParts,
  ) {
    this.model = model;
    this.plan = plan;
    this.predictor = predictor;
    this.memory = memory;
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
      const weights = await Weights.load(model.files, plan, arenas, onProgress, signal);
      const policy = request.window ?? 'auto';
      const predictor = await openPredictor(model, plan, arenas[0]);
      const options = { policy, onProgress, signal };
      const sparse = await openSparse(model, plan, arenas, predictor, options);
      const { files } = model;
      const headProposal = await HeadProposal.load(files, plan, arenas, onProgress, signal);
      const decoder = new Decoder({ files, plan, arenas, weights, sparse, headProposal });
      const [{ memory }] = arenas;
      return new Session(model, plan, threads, { weights, decoder, sparse, predictor, memory });
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
   * @returns for `last` and `best`: the logits (vocab) of the last position, valid until the next call
   */
  async forward(
    ids: readonly number[],
    wanted: LogitsWanted = 'last',
    options: {
      onLogits?: (logits: Float32Array, first: number) => void;
      signal?: AbortSignal;
      /** Sees, and may change, what the FFNs compute. */
      hook?: FfnHook;
    } = {},
  ): Promise<Float32Array> {
    this.model.tokenizer.checkIds(ids);
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
      const now = wanted !== 'all' && !last ? 'none' : wanted;
      this.#busy = true;
      try {
        logits = await this.#decoder.forward(chunk, this.#length, now, options);
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
