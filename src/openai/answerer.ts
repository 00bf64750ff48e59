/** The identity of the model that answers. */

import { createHash } from 'node:crypto';
import { basename, resolve } from 'node:path';
import type { Model } from '../engine/model.ts';
import type { RunRequest } from '../engine/run-request.ts';
import { predictorTensors } from '../flash/predictor-file.ts';
import { takesFewer } from '../models/spec.ts';

export interface Answerer {
  /** The model's name. */
  readonly model: string;
  /** Changes with everything that affects results: weights, predictors, dtypes, experts per token. */
  readonly fingerprint: string;
}

/** The directory's name, and a hash of everything that affects what the model generates. */
export function answererOf(
  { files, manifest }: Pick<Model, 'files' | 'manifest'>,
  { ffn, kvDtype, experts }: Pick<RunRequest, 'ffn' | 'kvDtype' | 'experts'>,
): Answerer {
  const predictors = ffn === 'exact' ? [] : predictorTensors(files.predictors);
  const sums = predictors.map(({ checksums }) => checksums.join(' '));
  const fewer = takesFewer(manifest.spec, experts) ? [`${experts} experts`] : [];
  const all = [manifest.crc32, kvDtype, ...sums, ...fewer].join(', ');
  const digits = createHash('sha256').update(all).digest('hex').slice(0, 12);
  return { model: basename(resolve(files.dir)), fingerprint: `fp_${digits}` };
}
