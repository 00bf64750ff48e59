/** Layers of a model run over sample text one after the other, a predictor trained for each. */

import { arrangeLayer, type LayerOrder } from '../arrange/layer-order.ts';
import { Arena } from '../engine/arena.ts';
import { Decoder } from '../engine/decoder.ts';
import type { Model } from '../engine/model.ts';
import { compileCore } from '../kernels/module.ts';
import { ComputeThreads } from '../kernels/threads/pool.ts';
import { Weights } from '../memory/weights.ts';
import { role } from '../models/spec.ts';
import { createMemory } from '../pages.ts';
import { collectLayer } from './collect.ts';
import { HiddenStates } from './hidden-states.ts';
import { importPredictor } from './import.ts';
import type { TrainingJob } from './job.ts';
import type { LayerProblem, TrainedPredictor } from './layer.ts';
import { magnitudePredictor } from './magnitude.ts';
import { RankChooser } from './rank.ts';
import { choosePlan, highestRank, rankSizes } from './rank-limits.ts';
import { Samples } from './samples.ts';
import { predictorDType, type Settings } from './settings.ts';
import { calibrateLayer, trainLayer } from './train-layer.ts';
import { layerTensors, type TrainingPlan } from './training-plan.ts';
import { Workspace } from './workspace.ts';

/** Where more than this share of neurons would be predicted, computing all is as fast. */
const mostPredicted = 0.7;
/** A model opened for training: one layer in memory at a time. */
export class TrainingRun {
  readonly #model: Model;
  readonly #settings: Settings;
  readonly #windows: readonly number[][];
  readonly #job: TrainingJob;
  readonly #plan: TrainingPlan;
  readonly #threads: ComputeThreads;
  readonly #memory: WebAssembly.Memory;
  readonly #arena: Arena;
  readonly #weights: Weights;
  readonly #samples: Samples;
  readonly #states: HiddenStates;
  readonly #chooser: RankChooser;

  private constructor(parts: {
    model: Model;
    settings: Settings;
    windows: readonly number[][];
    job: TrainingJob;
    plan: TrainingPlan;
    threads: ComputeThreads;
    arena: Arena;
    weights: Weights;
    chooser: RankChooser;
  }) {
    const { model, windows, plan, arena, job } = parts;
    const { manifest } = model;
    this.#model = model;
    this.#settings = parts.settings;
    this.#windows = windows;
    this.#job = job;
    this.#plan = plan;
    this.#threads = parts.threads;
    this.#arena = arena;
    this.#memory = arena.memory;
    this.#weights = parts.weights;
    this.#chooser = parts.chooser;
    const hidden = manifest.spec.hiddenSize;
    const tokens = windows.reduce((sum, { length }) => sum + length, 0);
    const neurons = manifest.layers[0]?.neurons ?? 0;
    const sizes = { tokens, heldOut: Math.ceil(tokens / 10), hidden, neurons };
    const file = `${job.dir}/samples.bin`;
    this.#samples = new Samples(sizes, this.#memory, plan.sampleRoom, file);
    this.#states = new HiddenStates(job.dir, hidden);
  }

  static async start(
    model: Model,
    settings: Settings,
    windows: readonly number[][],
    job: TrainingJob,
  ): Promise<TrainingRun> {
    const { files } = model;
    const chooser = new RankChooser(rankSizes(model, settings));
    for (const { rank, curve } of job.layers) chooser.spend(rank, curve);
    const highest = await highestRank(model, settings, chooser);
    const { plan, rank } = choosePlan(model, settings, windows, highest);
    chooser.limit(rank);
    const threads = await ComputeThreads.start(plan.plan.threads);
    try {
      const module = await compileCore();
      const memory = createMemory(plan.plan.memoryBytes);
      const scratch = plan.plan.threadScratch;
      const kernels = await threads.kernels(memory, { module, scratch });
      const arena = new Arena(memory, kernels, plan.plan.activations);
      const weights = await Weights.open(files, plan.plan, [arena]);
      const parts = { model, settings, windows, job, plan, threads, arena, weights, chooser };
      return new TrainingRun(parts);
    } catch (error) {
      await threads.close();
      throw error;
    }
  }

  /** Trains all layers that are not finished. */
  async layers(): Promise<void> {
    const { files, manifest } = this.#model;
    const { plan } = this.#plan;
    const decoder = new Decoder({
      files,
      plan,
      arenas: [this.#arena],
      weights: this.#weights,
      sparse: null,
    });
    const collecting = {
      decoder,
      memory: this.#memory,
      hiddenAddress: plan.activations.hidden,
      hidden: manifest.spec.hiddenSize,
      chunk: plan.chunk,
      windows: this.#windows,
      states: this.#states,
      input: this.#settings.importFrom === undefined ? ('ffn' as const) : ('residual' as const),
    };
    for (let layer = this.#job.layers.length; layer < manifest.layers.length; layer++) {
      const { signal } = this.#settings;
      const tell = (share: number, what: string) => {
        const done = (layer + share) / manifest.layers.length;
        const name = `layer ${layer + 1} of ${manifest.layers.length}: ${what}`;
        this.#settings.onProgress?.(done, name);
      };
      await this.#weights.read(layerTensors(manifest, layer), undefined, signal);
      await collectLayer(collecting, layer, this.#samples, {
        ...(signal && { signal }),
        onProgress: (tokens) => tell((0.5 * tokens) / this.#samples.tokens, 'collecting'),
      });
      const trained = await this.#train(layer, (share) => tell(0.5 + 0.5 * share, 'training'));
      const pays = trained.magnitude !== undefined || trained.report.predicted <= mostPredicted;
      let arranged: LayerOrder | null = null;
      const { neurons = 0, bundleBytes = 0 } = manifest.layers[layer] ?? {};
      if (this.#settings.arrange) {
        const { profile } = files.scheduler;
        arranged = await arrangeLayer(this.#samples, { neurons, bundleBytes }, profile, signal);
      }
      await this.#job.finish(trained, pays, arranged);
    }
  }

  /** All bundles of a layer, one after the other; valid until the next call. */
  async bundles(layer: number): Promise<Uint8Array> {
    const bundles = this.#model.files.tensor(role.bundles(layer));
    await this.#weights.read([bundles], undefined, this.#settings.signal);
    const { address = 0 } = this.#plan.plan.residences.get(bundles) ?? {};
    return new Uint8Array(this.#memory.buffer, address, bundles.bytes);
  }

  async #train(layer: number, onProgress: (done: number) => void): Promise<TrainedPredictor> {
    const { manifest } = this.#model;
    const { importFrom, rank, signal, thresholdSparsity } = this.#settings;
    const { neurons = 0 } = manifest.layers[layer] ?? {};
    const work = new Workspace(this.#memory, this.#arena.kernels, this.#plan.region);
    const problem: LayerProblem = {
      ...this.#neurons(layer, work),
      hidden: manifest.spec.hiddenSize,
      neurons,
      samples: this.#samples,
      work,
      options: {
        ...this.#settings,
        dtype: predictorDType,
        relu: this.#settings.relu || importFrom !== undefined,
      },
      signal,
      onProgress,
    };
    if (thresholdSparsity !== undefined) {
      const { activation } = manifest.spec.ffn;
      return magnitudePredictor(problem, activation, thresholdSparsity);
    }
    if (importFrom !== undefined) {
      return calibrateLayer(problem, await importPredictor(importFrom, layer, manifest));
    }
    if (rank !== undefined) return trainLayer(problem, [rank], () => rank);
    return trainLayer(problem, this.#chooser.candidates(), (curve) => this.#chooser.choose(curve));
  }

  /**
   * What the layer's neurons are, from its bundles: of gated ones the gate, which decides whether a
   * neuron fires.
   */
  #neurons(layer: number, work: Workspace): Pick<LayerProblem, 'up' | 'upBias' | 'importance'> {
    const { manifest, files } = this.#model;
    const hidden = manifest.spec.hiddenSize;
    const { neurons = 0, bundleBytes = 0, downOffset = 0 } = manifest.layers[layer] ?? {};
    const bundles = files.tensor(role.bundles(layer));
    const { address = 0 } = this.#plan.plan.residences.get(bundles) ?? {};
    const { toF32 } = work.kernels.byDType[manifest.dtypes.bundles];
    const up = work.take(neurons * hidden);
    const importance = new Float32Array(neurons);
    for (let i = 0; i < neurons; i++) {
      const row = up + 4 * i * hidden;
      toF32(row, address + i * bundleBytes + downOffset, hidden);
      let squares = 0;
      for (const value of work.floats(row, hidden)) squares += value * value;
      importance[i] = Math.sqrt(squares);
      toF32(row, address + i * bundleBytes, hidden);
    }
    const { gate, threshold } = manifest.spec.ffn;
    const bias = this.#weights.vector((gate === 'none' ? role.upBias : role.gateBias)(layer));
    const upBias = bias === 0 ? new Float32Array(neurons) : work.floats(bias, neurons).slice();
    for (let i = 0; i < neurons; i++) upBias[i] = (upBias[i] ?? 0) - threshold;
    return { up, upBias, importance };
  }

  async close(): Promise<void> {
    this.#samples.close();
    this.#states.end();
    await Promise.all([this.#threads.close(), this.#weights.reset()]);
  }
}
