/** A Hugging Face directory as a checkpoint. */

import { openWeights, readConfig, type WeightPlace } from '../checkpoint/hf-directory.ts';
import { withMxfp4 } from '../checkpoint/mxfp4-source.ts';
import { refuseQuantised } from '../checkpoint/quantisation.ts';
import type { TensorSource } from '../checkpoint/source.ts';
import { withTernary } from '../checkpoint/ternary-source.ts';
import { ternaryConfig } from '../models/ternary-config.ts';
import { textName } from '../models/text-part.ts';
import type { Checkpoint } from './checkpoint.ts';
import { readSideFiles } from './side-files.ts';

/**
 * Opens a Hugging Face directory, with its weights from the location that `place` gives.
 * @throws InputError when it cannot be used
 */
export async function openDirectory(path: string, place?: WeightPlace): Promise<Checkpoint> {
  const { config, isPart, file: configFile } = await readConfig(path);
  refuseQuantised(config, configFile);
  const weights = await openWeights(path, place);
  const named = isPart ? withTextNames(weights) : weights;
  return {
    format: 'Hugging Face',
    config,
    configFile,
    source: withTernary(withMxfp4(named), ternaryConfig({ config, file: configFile })),
    readSideFiles: (spec) => readSideFiles(path, spec),
  };
}

/** Tensors of a multimodal model under the names that they have in a text-only model. */
function withTextNames(source: TensorSource): TensorSource {
  const tensors = new Map([...source.tensors].map(([name, tensor]) => [textName(name), tensor]));
  return { ...source, tensors };
}
