/** Predictors as they are published: random ones. */

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { torchPickle, type WrittenTensor, zipBytes } from '../checkpoint/torch-writer.ts';
import { Dice } from './random.ts';

/** Writes a directory of `model_<layer>.pt`, the same for the same sizes. */
export function writePublished(
  dir: string,
  { layers, rank, hidden, neurons }: Record<'layers' | 'rank' | 'hidden' | 'neurons', number>,
): void {
  const dice = new Dice(6);
  const matrix = (rows: number, columns: number) => ({
    shape: [rows, columns] as [number, number],
    values: Float32Array.from({ length: rows * columns }, () => dice.next() - 0.5),
  });
  for (let layer = 0; layer < layers; layer++) {
    const file = { 'fc1.weight': matrix(rank, hidden), 'fc2.weight': matrix(neurons, rank) };
    writeFileSync(join(dir, `model_${layer}.pt`), torchFile(file));
  }
}

/** A file as torch.save writes it, of f32 matrices. */
function torchFile(matrices: Record<string, { shape: [number, number]; values: Float32Array }>) {
  const tensors: Record<string, WrittenTensor> = {};
  const entries: Record<string, Uint8Array> = {};
  Object.entries(matrices).forEach(([name, { shape, values }], key) => {
    tensors[name] = {
      key: `${key}`,
      storageClass: 'FloatStorage',
      elements: values.length,
      offset: 0,
      shape,
      strides: [shape[1], 1],
    };
    entries[`archive/data/${key}`] = new Uint8Array(values.buffer);
  });
  return zipBytes({
    'archive/data.pkl': torchPickle(tensors),
    ...entries,
    'archive/version': Buffer.from('3\n'),
  });
}
