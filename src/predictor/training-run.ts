/** Runs the layers of a model over sample text one after the other, and trains a predictor for each. */

import { arrangeLayer, type LayerOrder } from '../arrange/layer-order.ts';
import { Arena } from '../engine/arena.ts';
import type { Model } from '../engine/model.ts';
import { Transformer } from '../engine/transformer.ts';
import { readLimits } from '../flash/device-profile.ts';
import { neuronDType, weightCount } from '../flash/manifest.ts';
import { compileCore } from '../kernels/module.ts';
import { ComputeThreads } from '../kernels/threads/pool.ts';
import { tensorNames } from '../models/spec.ts';
import { createMemory } from '../pages.ts';
import { Weights } from '../residency/weights.ts';
import { collectLayer } from './collect.ts';
import { predictorMs, rowsPay, rowsSettle, scaled, trainingGain, trainingMs } from './cost.ts';
import { HiddenStates } from './hidden-states.ts';
import { importPredictor } from './import.ts';
import type { TrainingJob } from './job.ts';
import { frequencyOf, type LayerProblem, type TrainedPredictor } from './layer.ts';
import { magnitudePredictor } from './magnitude.ts';
import { RankChooser } from './rank.ts';
import { choosePlan, highestRank, rankSizes } from './rank-limits.ts';
import { rowPredictor } from './row-predictor.ts';
import { Samples } from './samples.ts';
import { predictorDType, rowTokens, type Settings } from './settings.ts';
import { approximationCurve, calibrateLayer, trainLayer } from './train-layer.ts';
import { layerTensors, type TrainingPlan } from './training-plan.ts';
import { firstWindows, tokensOf } from './windows.ts';
import { Workspace } from './workspace.ts';

/** If more than this share of neurons would be predicted, computing all of them is as fast. */
const mostPredicted = 0.7;

/** A model opened for training: one layer in memory at a time. */
export class TrainingRun {
  readonly #model: Model;
  readonly #settings: Settings;
  readonly #windows: readonly (readonly number[])[];
  readonly #job: TrainingJob;
  readonly #plan: TrainingPlan;
  readonly #threads: ComputeThreads;
  readonly #memory: WebAssembly.Memory;
  readonly #arena: Arena;
  readonly #weights: Weights;
  #samples: Samples | null = null;
  readonly #states: HiddenStates;
  readonly #chooser: RankChooser;
  #transformer: Transformer | null = null;

  private constructor(parts: {
    model: Model;
    settings: Settings;
    windows: readonly (readonly number[])[];
    job: TrainingJob;
    plan: TrainingPlan;
    threads: ComputeThreads;
    arena: Arena;
    weights: Weights;
    chooser: RankChooser;
  }) {
    const { model, plan, arena, job } = parts;
    this.#model = model;
    this.#settings = parts.settings;
    this.#windows = parts.windows;
    this.#job = job;
    this.#plan = plan;
    this.#threads = parts.threads;
    this.#arena = arena;
    this.#memory = arena.memory;
    this.#weights = parts.weights;
    this.#chooser = parts.chooser;
    this.#states = new HiddenStates(job.dir, model.manifest.spec.hiddenSize);
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

  /**
   * Trains all layers that are not finished.
   * @returns how many tokens they were trained from
   */
  async layers(): Promise<number> {
    const { manifest } = this.#model;
    const { method } = this.#settings;
    const kind = method === 'auto' ? await this.#settle() : method;
    const windows = kind === 'rows' ? this.#firstTokens() : this.#windows;
    const samples = this.#sampleFrom(windows);
    for (let layer = this.#job.layers.length; layer < manifest.layers.length; layer++) {
      const { signal } = this.#settings;
      const tell = (share: number, what: string) => {
        const done = (layer + share) / manifest.layers.length;
        const name = `layer ${layer + 1} of ${manifest.layers.length}: ${what}`;
        this.#settings.onProgress?.(done, name);
      };
      await this.#collect(layer, windows, samples, (share) => tell(0.5 * share, 'collecting'));
      const trained = await this.#train(layer, samples, kind, (share) =>
        tell(0.5 + 0.5 * share, 'training'),
      );
      const pays = trained.magnitude !== undefined || trained.report.predicted <= mostPredicted;
      let arranged: LayerOrder | null = null;
      const { neurons = 0, bundleBytes = 0 } = manifest.layers[layer] ?? {};
      if (this.#settings.arrange) {
        const { profile } = this.#model.files.scheduler;
        const limits = readLimits(profile);
        arranged = await arrangeLayer(samples, { neurons, bundleBytes }, limits, signal);
      }
      await this.#job.finish(trained, pays, arranged);
    }
    return samples.tokens;
  }

  /**
   * Decides whether to make rows for all layers or to train factors. The trial uses the first layer and as
   * many tokens as rows need, as training the factors of a model takes many times as long.
   */
  async #settle(): Promise<'rows' | 'low-rank'> {
    const settled = await this.#job.settled();
    if (settled !== null) return settled.method;
    const windows = this.#firstTokens();
    const samples = this.#sampleFrom(windows);
    const tell = (what: string) => this.#settings.onProgress?.(0, `choosing a method: ${what}`);
    await this.#collect(0, windows, samples, () => tell('collecting'));
    const problem = this.#problem(0, samples, () => {});
    const { work } = problem;
    const rows = await work.during(() => rowPredictor(problem));
    tell('comparing');
    const { profile } = this.#model.files.scheduler;
    const layer = { neurons: problem.neurons, bundleBytes: this.#bundleBytes(0) };
    const frequency = frequencyOf(rows);
    const candidates = this.#chooser.candidates();
    const curve = await work.during(() => approximationCurve(problem, candidates));
    const active = 1 - rows.report.sparsity;
    const { bytesOf } = rankSizes(this.#model, this.#settings);
    const factorMs = curve.map(({ rank, predicted }) => {
      const named = active + (predicted - active) * (1 - trainingGain);
      const times = named / Math.max(rows.report.predicted, 1e-6);
      return predictorMs(
        { bytes: bytesOf(rank), frequency: scaled(frequency, times) },
        layer,
        profile,
      );
    });
    const rowsMs = predictorMs({ bytes: rows.b.length, frequency }, layer, profile);
    const highest = candidates.at(-1) ?? 0;
    const settles = rowsSettle(rowsMs, Math.min(...factorMs), this.#trainingMs(highest));
    const method = settles ? 'rows' : 'low-rank';
    await this.#job.settle({ method });
    return method;
  }

  /** Expected milliseconds of training factors of that rank for all layers. */
  #trainingMs(rank: number): number {
    const { manifest } = this.#model;
    const { layers } = manifest;
    const { hiddenSize: hidden } = manifest.spec;
    return trainingMs({
      layers: layers.length,
      tokens: tokensOf(this.#windows),
      epochs: this.#settings.epochs,
      hidden,
      neurons: layers[0]?.neurons ?? 0,
      rank,
      layerWeights: weightCount(manifest, layerTensors(manifest, 0)),
    });
  }

  /** The windows with as many tokens as rows need. */
  #firstTokens(): (readonly number[])[] {
    return firstWindows(this.#windows, rowTokens(this.#model, this.#settings));
  }

  /** Replaces the samples by room for these windows' tokens. */
  #sampleFrom(windows: readonly (readonly number[])[]): Samples {
    const { manifest } = this.#model;
    const tokens = tokensOf(windows);
    const sizes = {
      tokens,
      heldOut: Math.ceil(tokens / 10),
      hidden: manifest.spec.hiddenSize,
      neurons: manifest.layers[0]?.neurons ?? 0,
    };
    this.#samples?.close();
    const file = `${this.#job.dir}/samples.bin`;
    this.#samples = new Samples(sizes, this.#memory, this.#plan.sampleRoom, file);
    return this.#samples;
  }

  /** Loads a layer's weights and runs it over windows. */
  async #collect(
    layer: number,
    windows: readonly (readonly number[])[],
    samples: Samples,
    onProgress: (share: number) => void,
  ): Promise<void> {
    const { files, manifest } = this.#model;
    const { plan } = this.#plan;
    const { signal, importFrom } = this.#settings;
    this.#transformer ??= new Transformer({
      files,
      plan,
      arenas: [this.#arena],
      weights: this.#weights,
      sparse: null,
    });
    const parts = {
      transformer: this.#transformer,
      memory: this.#memory,
      hiddenAddress: plan.activations.hidden,
      hidden: manifest.spec.hiddenSize,
      chunk: plan.chunk,
      windows,
      states: this.#states,
      input: importFrom === undefined ? ('ffn' as const) : ('residual' as const),
    };
    await this.#weights.read(layerTensors(manifest, layer), undefined, signal);
    await collectLayer(parts, layer, samples, {
      ...(signal && { signal }),
      onProgress: (tokens) => onProgress(tokens / samples.tokens),
    });
  }

  /** All bundles of a layer, one after the other; valid until the next call. */
  async bundles(layer: number): Promise<Uint8Array> {
    const bundles = this.#model.files.tensor(tensorNames.bundles(layer));
    await this.#weights.read([bundles], undefined, this.#settings.signal);
    const { address = 0 } = this.#plan.plan.residences.get(bundles) ?? {};
    return new Uint8Array(this.#memory.buffer, address, bundles.bytes);
  }

  async #train(
    layer: number,
    samples: Samples,
    kind: Exclude<Settings['method'], 'auto'>,
    onProgress: (done: number) => void,
  ): Promise<TrainedPredictor> {
    const { manifest } = this.#model;
    const { importFrom, rank, thresholdSparsity, method } = this.#settings;
    const problem = this.#problem(layer, samples, onProgress);
    if (thresholdSparsity !== undefined) {
      const { activation } = manifest.spec.ffn;
      return magnitudePredictor(problem, activation, thresholdSparsity);
    }
    if (importFrom !== undefined) {
      return calibrateLayer(problem, await importPredictor(importFrom, layer, manifest));
    }
    if (kind === 'rows') return rowPredictor(problem);
    if (rank !== undefined) return trainLayer(problem, [rank], () => rank);
    const rows = method === 'auto' ? await problem.work.during(() => rowPredictor(problem)) : null;
    const factors = await trainLayer(problem, this.#chooser.candidates(), (curve) =>
      this.#chooser.choose(curve),
    );
    return rows !== null && this.#cheaper(rows, factors, layer) ? rows : factors;
  }

  /** Whether rows cost a token enough less time than factors to be worth their bytes. */
  #cheaper(rows: TrainedPredictor, factors: TrainedPredictor, layer: number): boolean {
    const { profile } = this.#model.files.scheduler;
    const { neurons = 0, bundleBytes = 0 } = this.#model.manifest.layers[layer] ?? {};
    const ms = (predictor: TrainedPredictor) => {
      const bytes = predictor.a.length + predictor.b.length;
      const cost = { bytes, frequency: frequencyOf(predictor) };
      return predictorMs(cost, { neurons, bundleBytes }, profile);
    };
    return rowsPay(ms(rows), ms(factors));
  }

  /** The training's view of a layer whose weights are in memory. */
  #problem(layer: number, samples: Samples, onProgress: (done: number) => void): LayerProblem {
    const { manifest } = this.#model;
    const { importFrom, signal } = this.#settings;
    const { neurons = 0 } = manifest.layers[layer] ?? {};
    const work = new Workspace(this.#memory, this.#arena.kernels, this.#plan.region);
    return {
      ...this.#neurons(layer, work),
      hidden: manifest.spec.hiddenSize,
      neurons,
      samples,
      work,
      options: {
        ...this.#settings,
        dtype: predictorDType,
        relu: this.#settings.relu || importFrom !== undefined,
      },
      signal,
      onProgress,
    };
  }

  #bundleBytes(layer: number): number {
    return this.#model.manifest.layers[layer]?.bundleBytes ?? 0;
  }

  /**
   * The rows of the layer's neurons, from its bundles: for gated FFNs the gate rows, which decide whether a
   * neuron fires.
   */
  #neurons(layer: number, work: Workspace): Pick<LayerProblem, 'up' | 'upBias' | 'importance'> {
    const { manifest, files } = this.#model;
    const hidden = manifest.spec.hiddenSize;
    const { neurons = 0, bundleBytes = 0, downOffset = 0 } = manifest.layers[layer] ?? {};
    const bundles = files.tensor(tensorNames.bundles(layer));
    const { address = 0 } = this.#plan.plan.residences.get(bundles) ?? {};
    const { toF32 } = work.kernels.byDType[neuronDType(manifest.dtypes)];
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
    const bias = this.#weights.vector(
      (gate === 'none' ? tensorNames.upBias : tensorNames.gateBias)(layer),
    );
    const upBias = bias === 0 ? new Float32Array(neurons) : work.floats(bias, neurons).slice();
    for (let i = 0; i < neurons; i++) upBias[i] = (upBias[i] ?? 0) - threshold;
    return { up, upBias, importance };
  }

  async close(): Promise<void> {
    this.#samples?.close();
    this.#states.end();
    await Promise.all([this.#threads.close(), this.#weights.reset()]);
  }
}
