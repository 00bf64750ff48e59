/** Checkpoints of random weights of any family, with the tokenizer of the bundled model. */

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ffnSources } from '../../src/models/ffn-sources.ts';
import { recipeOf } from '../../src/models/index.ts';
import { type Config, copySideFiles, weightsFile } from './checkpoint.ts';
import { toF16 } from './dtypes.ts';
import { Dice } from './random.ts';
import { type Tensors, writeSafetensors } from './safetensors.ts';

/** Ids of the tokenizer. */
export const vocabSize = 2048;

/**
 * Writes a checkpoint for `config`, in float16, the same for the same seed.
 * @param change what is different from that
 */
export function writeRandomModel(
  dir: string,
  config: Config,
  seed = 1,
  change: (tensors: Tensors) => void = () => {},
): string {
  const configFile = join(dir, 'config.json');
  copySideFiles(dir);
  const full = { vocab_size: vocabSize, bos_token_id: 1, eos_token_id: 2, ...config };
  writeFileSync(configFile, JSON.stringify(full));
  const recipe = recipeOf({ config: full, configFile, sourceNames: new Set() });

  const dice = new Dice(seed);
  const written: Tensors = new Map();
  const add = (name: string, shape: readonly number[]) => {
    if (written.has(name)) return;
    const isNorm = shape.length === 1 && name.endsWith('weight');
    const spread = shape.length === 1 ? 0.2 : 2.6 / Math.sqrt(shape.at(-1) ?? 1);
    const data = Buffer.alloc(2 * shape.reduce((product, size) => product * size, 1));
    for (let at = 0; at < data.length; at += 2) {
      data.writeUInt16LE(toF16((dice.next() * 2 - 1) * spread + (isNorm ? 1 : 0)), at);
    }
    written.set(name, { dtype: 'F16', shape, data });
  };
  for (const { parts } of recipe.tensors) {
    for (const { source, shape } of parts) add(source, shape);
  }
  for (const { source, shape } of ffnSources(recipe)) add(source, shape);
  change(written);
  writeSafetensors(join(dir, weightsFile), written);
  return dir;
}
