/** After training: writes the model again with neurons that fire together side by side, if it pays. */

import type { LayerOrder } from '../arrange/layer-order.ts';
import { writeRearranged } from '../arrange/rewrite.ts';
import type { OutputDirectory } from '../convert/output-directory.ts';
import type { Model } from '../engine/model.ts';
import { FlashError } from '../errors.ts';
import type { PredictorSource } from '../flash/predictor-writer.ts';
import type { TrainingJob } from './job.ts';
import type { Settings } from './settings.ts';
import type { TrainingRun } from './training-run.ts';

/** The outcome. */
export interface ArrangementReport {
  /** Whether the model has a new order. */
  readonly done: boolean;
  /** Total bytes that held-out tokens read in the old order and in the new one. */
  readonly readBefore: number;
  readonly readAfter: number;
  /** The reason if it has not. */
  readonly reason?: string;
}

export interface Arrangement {
  readonly report: ArrangementReport;
  /** The model in its new order, to replace the old one. */
  readonly directory: OutputDirectory | null;
}

/** If more than this share of the previous bytes would be read, writing the model again does not pay. */
const worthIt = 0.9;

/**
 * Writes the model, in the order that training has found, beside the existing one. If this is not possible,
 * the report says why: the existing model is complete without it.
 * @throws InterruptedError
 */
export async function prepareArrangement(
  model: Model,
  run: TrainingRun,
  job: TrainingJob,
  predictors: PredictorSource,
  { signal, onProgress }: Pick<Settings, 'signal' | 'onProgress'>,
): Promise<Arrangement> {
  const sum = (key: keyof Omit<LayerOrder, 'order'>) =>
    job.layers.reduce((all, { arrangement }) => all + (arrangement?.[key] ?? 0), 0);
  const reads = { readBefore: sum('readBefore'), readAfter: sum('readAfter') };
  const without = (reason: string): Arrangement => ({
    report: { ...reads, done: false, reason },
    directory: null,
  });
  if (reads.readAfter > worthIt * reads.readBefore) {
    return without('no other order would read noticeably less');
  }
  const orders: Uint32Array[] = [];
  for (const [layer, { neurons }] of model.manifest.layers.entries()) {
    orders.push(await job.order(layer, neurons));
  }
  try {
    const directory = await writeRearranged({
      dir: model.files.dir,
      manifest: model.manifest,
      orders,
      bundles: (layer) => run.bundles(layer),
      predictors,
      signal,
      onProgress: (done) => onProgress?.(done, 'laying neurons in a better order'),
    });
    return { report: { ...reads, done: true }, directory };
  } catch (error) {
    if (error instanceof FlashError) return without(error.line);
    throw error;
  }
}

/**
 * Replaces the model by the new directory; closes the model first, as not every system can move open files.
 */
export async function finishArrangement(
  { report, directory }: Arrangement,
  model: Model,
): Promise<ArrangementReport> {
  if (directory === null) return report;
  model.close();
  try {
    await directory.commit();
    return report;
  } catch (error) {
    await directory.abandon();
    if (error instanceof FlashError) return { ...report, done: false, reason: error.line };
    throw error;
  }
}
