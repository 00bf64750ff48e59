/** Predictors as they are published: random ones. */

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Dice } from './random.ts';
import type { Tensor, Tensors } from './safetensors.ts';
import { torchFile } from './torch-file.ts';

/** Writes a directory of `model_<layer>.pt`, the same for the same sizes. */
export function writePublished(
  dir: string,
  { layers, rank, hidden, neurons }: Record<'layers' | 'rank' | 'hidden' | 'neurons', number>,
): void {
  const dice = new Dice(6);
  const matrix = (rows: number, columns: number): Tensor => {
    const values = Float32Array.from({ length: rows * columns }, () => dice.next() - 0.5);
    return { dtype: 'F32', shape: [rows, columns], data: Buffer.from(values.buffer) };
  };
  for (let layer = 0; layer < layers; layer++) {
    const file: Tensors = new Map([
      ['fc1.weight', matrix(rank, hidden)],
      ['fc2.weight', matrix(neurons, rank)],
    ]);
    writeFileSync(join(dir, `model_${layer}.pt`), torchFile(file));
  }
}
