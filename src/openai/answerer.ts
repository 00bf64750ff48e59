/** Who answers. */

import { createHash } from 'node:crypto';
import { basename, resolve } from 'node:path';
import type { Model } from '../engine/model.ts';
import type { RunRequest } from '../engine/run-request.ts';
import { predictorTensors } from '../flash/predictor-file.ts';

export interface Answerer {
  /** The model's name. */
  readonly model: string;
  /** Changes with everything that changes results: weights, predictors, dtypes. */
  readonly fingerprint: string;
}

/** The directory's name, and a hash of all that decides what a model generates. */
export function answererOf(
  { files, manifest }: Pick<Model, 'files' | 'manifest'>,
  { ffn, kvDtype }: Pick<RunRequest, 'ffn' | 'kvDtype'>,
): Answerer {
  const predictors = ffn === 'exact' ? [] : predictorTensors(files.predictors);
  const sums = predictors.map(({ checksums }) => checksums.join(' '));
  const all = [manifest.crc32, kvDtype, ...sums].join(', ');
  const digits = createHash('sha256').update(all).digest('hex').slice(0, 12);
  return { model: basename(resolve(files.dir)), fingerprint: `fp_${digits}` };
}
