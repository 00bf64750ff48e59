/** A checkpoint in any format: what it says about itself, its tensors, and its small files. */

import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { fileError } from '../checkpoint/file.ts';
import { openWeights, readConfig, type WeightPlace } from '../checkpoint/hf-directory.ts';
import { withMxfp4 } from '../checkpoint/mxfp4-source.ts';
import { refuseQuantised } from '../checkpoint/quantisation.ts';
import type { TensorSource } from '../checkpoint/source.ts';
import { withTernary } from '../checkpoint/ternary-source.ts';
import { InputError } from '../errors.ts';
import { manifestFile } from '../flash/manifest.ts';
import { ternaryConfig } from '../models/ternary-config.ts';
import { textName } from '../models/text-part.ts';
import type { Checkpoint } from './checkpoint.ts';
import { openGgufCheckpoint } from './gguf-checkpoint.ts';
import { readSideFiles } from './side-files.ts';

/**
 * Opens a Hugging Face directory or a GGUF file; close its source when done.
 * @throws InputError when it cannot be used
 */
export async function openCheckpoint(path: string): Promise<Checkpoint> {
  const found = await stat(path).catch((error: unknown) => {
    const { code } = error as NodeJS.ErrnoException;
    // If the path does not exist, the directory's reader reports it.
    if (code === 'ENOENT' || code === 'ENOTDIR') return null;
    throw fileError(error, path, 'opening');
  });
  if (found === null && /\.gguf$/i.test(path)) throw new InputError('no such file', { file: path });
  if (found?.isDirectory() && (await stat(join(path, manifestFile)).catch(() => null)) !== null) {
    throw new InputError(
      'is a model directory: it is converted already',
      { file: path },
      'Give the checkpoint that it was made from',
    );
  }
  return found?.isFile() ? openGgufCheckpoint(path) : openDirectory(path);
}

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
