/** After training: the model written once more with neurons that fire together side by side, if it pays. */

import type { LayerOrder } from '../arrange/layer-order.ts';
import { writeRearranged } from '../arrange/rewrite.ts';
import type { OutputDirectory } from '../convert/output-directory.ts';
import type { Model } from '../engine/model.ts';
import { FlashError } from '../errors.ts';
import type { PredictorSource } from '../flash/predictor-writer.ts';
import type { TrainingJob } from './job.ts';
import type { Settings } from './settings.ts';
import type { TrainingRun } from './training-run.ts';

/** What became of it. */
export interface ArrangementReport {
  /** Whether the model has a new order. */
  readonly done: boolean;
  /** Bytes that held-out tokens read, all told, in the old order and the new one. */
  readonly readBefore: number;
  readonly readAfter: number;
  /** Why it has not. */
  readonly reason?: string;
}

export interface Arrangement {
  readonly report: ArrangementReport;
  /** The model in its new order, to take the old one's place. */
  readonly directory: OutputDirectory | null;
}

/** Above this share of what was read before, it is not worth writing the model once more. */
const worthIt = 0.9;

/**
 * Writes the model in the order that training has found beside the one that is there. What hinders it
 * is said in the report: the model is complete as it is.
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
 * Lets the new directory take the model's place; the model is closed, as not every system moves what
 * is open.
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
