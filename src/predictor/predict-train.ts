/**
 * Trains predictors for a whole model: its layers run over sample text one after the other, each
 * one's predictor is trained from what its FFN saw and did, and all go into one file.
 */

import { crc32 } from 'node:zlib';
import { byteLength, type DType } from '../dtype.ts';
import { Arena } from '../engine/arena.ts';
import { Decoder } from '../engine/decoder.ts';
import type { Model } from '../engine/model.ts';
import { BudgetError, InputError } from '../errors.ts';
import type { PredictorReport } from '../flash/predictor-file.ts';
import { compileCore, createMemory } from '../kernels/module.ts';
import { availableThreads } from '../kernels/threads/available.ts';
import { ComputeThreads } from '../kernels/threads/pool.ts';
import { peakResidentBytes, processEstimate } from '../memory/process.ts';
import { Weights } from '../memory/weights.ts';
import { activations, role } from '../models/spec.ts';
import { alignUp, MIB } from '../units.ts';
import { version } from '../version.ts';
import { collectLayer } from './collect.ts';
import { HiddenStates } from './hidden-states.ts';
import { importedRanks, importPredictor } from './import.ts';
import { TrainingJob } from './job.ts';
import type { LayerProblem, TrainedPredictor, TrainingOptions } from './layer.ts';
import { RankChooser } from './rank.ts';
import { Samples } from './samples.ts';
import { calibrateLayer, trainingBytes, trainLayer } from './train-layer.ts';
import { layerTensors, planTraining, type TrainingPlan } from './training-plan.ts';
import { windowsFrom } from './windows.ts';
import { Workspace } from './workspace.ts';
import { writePredictors } from './write.ts';

export interface PredictTrainRequest {
  /** Bytes for the whole process. */
  readonly budget: number;
  /** See `documentsOf`. */
  readonly documents: AsyncIterable<string> | Iterable<string>;
  /** What the text is called in messages. */
  readonly corpus: string;
  readonly threads?: number;
  /** Tokens of the text that are used, at most; by default as many as take a bearable time. */
  readonly maxTokens?: number;
  readonly seed?: number;
  readonly epochs?: number;
  readonly recall?: number;
  readonly method?: TrainingOptions['method'];
  readonly relu?: boolean;
  /** The same rank for every layer, instead of one each by what it is worth. */
  readonly rank?: number;
  /** Bytes of all predictors, as a share of the model's weights. */
  readonly share?: number;
  /** A directory of published predictors that take the place of training. */
  readonly importFrom?: string;
  readonly signal?: AbortSignal;
  /** Called with the share of all work that is done, 0 to 1, and what is under way. */
  readonly onProgress?: (done: number, what: string) => void;
}

export interface LayerReport extends PredictorReport {
  readonly rank: number;
  /** Whether predicting pays; else every neuron of the layer is computed. */
  readonly used: boolean;
}

export interface PredictTrainReport {
  readonly layers: readonly LayerReport[];
  readonly tokens: number;
  /** Of the predictors, and of the model's weights. */
  readonly bytes: number;
  readonly modelBytes: number;
  /** Layers that an earlier run had finished. */
  readonly resumed: number;
  readonly dramBudget: number;
  readonly peakRss: number;
  readonly ms: number;
}

/** Windows are as long as what users generate, or shorter. */
const longestWindow = 512;
/** A token costs about as many multiply-adds as the model has weights, and as much again to learn from. */
const defaultWork = 2e13;
const [fewestTokens, mostTokens] = [8192, 100_000];
/** Bits buy less than rank: at equal bytes, q8 predicts 1.7 times what fires, q4 1.2 times. */
const dtype: DType = 'q4';
/** Ranks are whole blocks of 32. */
const rankStep = 32;
/** Share of the model that predictors may take; a small one gives more, as its rows are short. */
const defaultShare = (modelBytes: number) => (modelBytes < 64 * MIB ? 0.06 : 0.04);
/** Where more than this share of neurons would be predicted, computing all is as fast. */
const mostPredicted = 0.7;
/**
 * Share of the activations' weight that is kept. On the bundled model, 99% left the most likely token
 * the same at 97.0% of the places, 99.5% at 98.1%, with 1.85 times as many neurons as fire, not 1.58.
 */
const defaultRecall = 0.995;
/** JavaScript's own arrays, next to what is planned. */
const heapBytes = 24 * MIB;

/**
 * Trains predictors and writes them into the model. What an earlier run with the same settings had
 * finished is taken over.
 * @throws InputError when the model or the text cannot be used, BudgetError below what is needed
 */
export async function predictTrain(
  model: Model,
  request: PredictTrainRequest,
): Promise<PredictTrainReport> {
  const started = performance.now();
  const { manifest } = model;
  const { spec } = manifest;
  if (!activations[spec.ffn.activation].zeros) {
    throw new InputError(
      `its FFNs use ${spec.ffn.activation}, where no neuron is ever exactly 0`,
      { file: model.files.dir },
      'Predictors need a model with ReLU or a relative of it; this one runs without, every neuron computed',
    );
  }
  const settings: Settings = { ...defaults(model), ...withoutUndefined(request) };
  checkShare(model, request, settings);
  const context = Math.min(spec.maxPositions, longestWindow);
  const windows = await sampleWindows(model, request, context, settings.maxTokens);
  const tokens = windows.reduce((sum, { length }) => sum + length, 0);
  const { seed, epochs, recall, method, relu, rank, share, importFrom } = settings;
  const job = await TrainingJob.open(model.files.dir, {
    version,
    model: manifest.crc32,
    windows: windows.length,
    text: crc32(Buffer.from(new Uint32Array(windows.flat()).buffer)),
    ...{ seed, epochs, recall, method, relu, rank, share, importFrom, context },
  });
  const resumed = job.layers.length;
  const run = await TrainingRun.start(model, settings, windows, job);
  try {
    await run.layers();
  } finally {
    await run.close();
  }
  const bytes = await writePredictors(model.files.dir, manifest, {
    producer: `flashllm ${version}`,
    dtype,
    layers: job.layers.map((layer) =>
      layer.used
        ? {
            rank: layer.rank,
            relu: layer.relu,
            input: importFrom === undefined ? 'ffn' : 'residual',
            report: layer.report,
          }
        : null,
    ),
    checksum: (layer, part) => job.layers[layer]?.parts[part].checksum ?? 0,
    bytes: (layer, part) => job.bytes(layer, part),
  });
  await job.remove();
  return {
    layers: job.layers.map(({ rank, used, report }) => ({ rank, used, ...report })),
    tokens,
    bytes,
    modelBytes: model.weightBytes,
    resumed,
    dramBudget: request.budget,
    peakRss: peakResidentBytes(),
    ms: performance.now() - started,
  };
}

function defaults(model: Model) {
  const bearable = Math.round(defaultWork / (model.weightBytes / 2));
  return {
    maxTokens: Math.max(fewestTokens, Math.min(mostTokens, bearable)),
    seed: 1,
    epochs: 3,
    recall: defaultRecall,
    method: 'train' as TrainingOptions['method'],
    relu: false,
    rank: undefined as number | undefined,
    share: defaultShare(model.weightBytes),
    importFrom: undefined as string | undefined,
  };
}

/** A share that someone asks for must hold a predictor for every layer; the default need not. */
function checkShare(
  model: Model,
  { share, rank, importFrom }: PredictTrainRequest,
  settings: Settings,
): void {
  if (share === undefined || rank !== undefined || importFrom !== undefined) return;
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

function withoutUndefined<T extends object>(value: T): T {
  return Object.fromEntries(Object.entries(value).filter(([, v]) => v !== undefined)) as T;
}

/** The text as windows. @throws InputError when it is too short or no text */
async function sampleWindows(
  { tokenizer, manifest }: Model,
  { documents, corpus }: PredictTrainRequest,
  context: number,
  most: number,
): Promise<number[][]> {
  const { bosId } = tokenizer;
  if (bosId === undefined) throw new InputError('the model has no BOS token to begin with');
  const place = { file: corpus };
  const checked = async function* () {
    for await (const document of documents) {
      // What is not UTF-8 has been replaced while it was decoded.
      const strange = document.match(/[\0\ufffd]/g)?.length ?? 0;
      if (strange > document.length / 100) {
        throw new InputError('is not text', place, 'Give a text file in UTF-8');
      }
      yield document;
    }
  };
  const windows = await windowsFrom(checked(), tokenizer, bosId, context, most);
  const tokens = windows.reduce((sum, { length }) => sum + length, 0);
  if (tokens < context) {
    const found = tokens === 0 ? 'holds no tokens' : `holds ${tokens} tokens`;
    throw new InputError(
      `${found}; a window of ${context} is the least to train from`,
      place,
      `Give a text of the kind the model is used for, ${Math.min(most, manifest.spec.maxPositions * 20)} tokens or more`,
    );
  }
  return windows;
}

type Settings = Omit<PredictTrainRequest, 'rank' | 'importFrom'> & ReturnType<typeof defaults>;

/** A model opened for training: one layer in memory at a time. */
class TrainingRun {
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
      const weights = await Weights.open(files, plan.plan, [memory]);
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
      await this.#job.finish(trained, trained.report.predicted <= mostPredicted);
    }
  }

  async #train(layer: number, onProgress: (done: number) => void): Promise<TrainedPredictor> {
    const { manifest } = this.#model;
    const { importFrom, rank, signal } = this.#settings;
    const { neurons = 0 } = manifest.layers[layer] ?? {};
    const work = new Workspace(this.#memory, this.#arena.kernels, this.#plan.region);
    const problem: LayerProblem = {
      ...this.#neurons(layer, work),
      hidden: manifest.spec.hiddenSize,
      neurons,
      samples: this.#samples,
      work,
      options: { ...this.#settings, dtype, relu: this.#settings.relu || importFrom !== undefined },
      signal,
      onProgress,
    };
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

function rankSizes({ manifest, weightBytes }: Model, { share }: Settings) {
  const hidden = manifest.spec.hiddenSize;
  const layers = manifest.layers.length;
  const neurons = manifest.layers[0]?.neurons ?? 0;
  const vectors = (4 + 2) * neurons;
  return {
    // The header takes 760 bytes for each layer; it and the file end at whole pages.
    totalBytes: share * weightBytes - alignUp(300 + 800 * layers, 4096) - 4096,
    layers,
    bytesOf: (rank: number) =>
      rank * byteLength(dtype, hidden) + neurons * byteLength(dtype, rank) + vectors,
    step: rankStep,
    most: Math.min(hidden, neurons),
  };
}

/** The highest rank that any layer may get, for which memory is planned. */
async function highestRank(
  { manifest }: Model,
  { rank, importFrom }: Settings,
  chooser: RankChooser,
): Promise<number> {
  if (importFrom !== undefined) return Math.max(...(await importedRanks(importFrom, manifest)));
  if (rank === undefined) return chooser.highest();
  const { hiddenSize } = manifest.spec;
  if (rank < 1 || rank > hiddenSize) {
    throw new InputError(`--rank must be from 1 to ${hiddenSize}, not ${rank}`);
  }
  return rank;
}

/** A plan for ranks up to `highest`, or, where memory is short and ranks are free, for lower ones. */
function choosePlan(
  { manifest }: Model,
  { budget, threads, rank: fixed, importFrom }: Settings,
  windows: readonly number[][],
  highest: number,
): { readonly plan: TrainingPlan; readonly rank: number } {
  const hidden = manifest.spec.hiddenSize;
  const neurons = Math.max(...manifest.layers.map((layer) => layer.neurons));
  const plan = (count: number, rank: number) =>
    planTraining({
      manifest,
      dramBudget: budget,
      processBytes: processEstimate(manifest) + heapBytes,
      threads: count,
      context: Math.max(...windows.map(({ length }) => length)),
      tokens: windows.reduce((sum, { length }) => sum + length, 0),
      regionBytes: trainingBytes(hidden, neurons, rank) + 4 * neurons * hidden,
    });
  const tries = threads === undefined ? [availableThreads(), 1] : [threads];
  let rank = highest;
  for (;;) {
    for (const count of tries) {
      try {
        return { plan: plan(count, rank), rank };
      } catch (error) {
        if (!(error instanceof BudgetError)) throw error;
        const last = count === tries.at(-1);
        const fewest = fixed !== undefined || importFrom !== undefined || rank <= rankStep;
        if (last && fewest) throw error;
      }
    }
    rank = Math.max(rankStep, Math.floor((rank * 0.75) / rankStep) * rankStep);
  }
}
