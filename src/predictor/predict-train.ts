/**
 * Trains predictors for a whole model: its layers run over sample text one after the other, each
 * one's predictor is trained from what its FFN saw and did, and all go into one file.
 */

import { crc32 } from 'node:zlib';
import type { Model } from '../engine/model.ts';
import { InputError } from '../errors.ts';
import type { PredictorReport } from '../flash/predictor-file.ts';
import { type PredictorSource, writePredictors } from '../flash/predictor-writer.ts';
import { peakResidentBytes } from '../memory/process.ts';
import { activations } from '../models/spec.ts';
import { version } from '../version.ts';
import {
  type Arrangement,
  type ArrangementReport,
  finishArrangement,
  prepareArrangement,
} from './arrangement.ts';
import type { PredictorInput } from './collect.ts';
import { TrainingJob } from './job.ts';
import { checkShare } from './rank-limits.ts';
import { sampleWindows } from './sample-text.ts';
import { decisive, type PredictTrainRequest, predictorDType, settingsFor } from './settings.ts';
import { TrainingRun } from './training-run.ts';

export interface LayerReport extends PredictorReport {
  readonly rank: number;
  /** Whether predicting pays; else every neuron of the layer is computed. */
  readonly used: boolean;
  /** Where the magnitude of the gate decides: above which a neuron is wanted. */
  readonly magnitude?: number;
}

export interface PredictTrainReport {
  readonly layers: readonly LayerReport[];
  readonly tokens: number;
  /** Of the predictors, and of the model's weights. */
  readonly bytes: number;
  readonly modelBytes: number;
  /** Layers that an earlier run had finished. */
  readonly resumed: number;
  /** Where neurons were to be laid side by side. */
  readonly arrangement?: ArrangementReport;
  readonly dramBudget: number;
  readonly peakRss: number;
  readonly ms: number;
}

/** Windows are as long as what users generate, or shorter. */
const longestWindow = 512;

/**
 * Trains predictors and writes them into the model, and lays its neurons in a better order where that
 * makes reads fewer; then the model is closed, and to be opened again. What an earlier run with the
 * same settings had finished is taken over.
 * @throws InputError when the model or the text cannot be used, BudgetError below what is needed
 */
export async function predictTrain(
  model: Model,
  request: PredictTrainRequest,
): Promise<PredictTrainReport> {
  const started = performance.now();
  const { manifest } = model;
  const { spec } = manifest;
  const { zeros } = activations[spec.ffn.activation];
  if (zeros && request.thresholdSparsity !== undefined) {
    throw new InputError(
      `its FFNs use ${spec.ffn.activation}, most of whose values are 0 as they are`,
      { file: model.files.dir },
      'Train without --threshold-sparsity',
    );
  }
  if (!zeros && request.thresholdSparsity === undefined) {
    throw new InputError(
      `its FFNs use ${spec.ffn.activation}, where no neuron is ever exactly 0`,
      { file: model.files.dir },
      'With --threshold-sparsity 0.5, the half of the neurons that is nearest to 0 is taken for 0; without, it runs with every neuron computed',
    );
  }
  if (!zeros && request.arrange === true) {
    throw new InputError(
      `its FFNs use ${spec.ffn.activation}: every neuron fires at every token, so none fire together`,
      { file: model.files.dir },
      'Train without --arrange',
    );
  }
  const settings = settingsFor(model, request);
  checkShare(model, request, settings);
  const context = Math.min(spec.maxPositions, longestWindow);
  const windows = await sampleWindows(model, request, context, settings.maxTokens);
  const tokens = windows.reduce((sum, { length }) => sum + length, 0);
  const { importFrom } = settings;
  const job = await TrainingJob.open(model.files.dir, {
    version,
    model: manifest.crc32,
    windows: windows.length,
    text: windows.reduce((sum, ids) => crc32(Buffer.from(Uint32Array.from(ids).buffer), sum), 0),
    context,
    ...decisive(settings),
  });
  const resumed = job.layers.length;
  const run = await TrainingRun.start(model, settings, windows, job);
  let bytes = 0;
  let arrangement: Arrangement | null = null;
  try {
    await run.layers();
    const predictors = predictorsOf(job, importFrom === undefined ? 'ffn' : 'residual');
    bytes = await writePredictors(model.files.dir, manifest, predictors);
    if (settings.arrange) {
      arrangement = await prepareArrangement(model, run, job, predictors, settings);
    }
  } finally {
    await run.close();
  }
  const arranged = arrangement && (await finishArrangement(arrangement, model));
  await job.remove();
  return {
    layers: job.layers.map(({ rank, used, magnitude, report }) => ({
      rank,
      used,
      ...(magnitude && { magnitude: magnitude.threshold }),
      ...report,
    })),
    tokens,
    bytes,
    modelBytes: model.weightBytes,
    resumed,
    ...(arranged && { arrangement: arranged }),
    dramBudget: request.budget,
    peakRss: peakResidentBytes(),
    ms: performance.now() - started,
  };
}

/** What a finished job has trained, in the order that the model has. */
function predictorsOf(job: TrainingJob, input: PredictorInput): PredictorSource {
  return {
    producer: `flashllm ${version}`,
    dtype: predictorDType,
    layers: job.layers.map(({ rank, relu, magnitude, report, used }) =>
      used ? { rank, relu, input, ...(magnitude && { magnitude }), report } : null,
    ),
    checksum: (layer, part) => job.layers[layer]?.parts[part].checksum ?? 0,
    bytes: (layer, part) => job.bytes(layer, part),
  };
}
