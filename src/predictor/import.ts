/**
 * Predictors published with ReLU checkpoints (SparseLLM, PowerInfer): a directory with `model_<layer>.pt` per
 * layer, each a state dict of `fc1.weight` (rank, hidden) and `fc2.weight` (neurons, rank), with a ReLU
 * between them; their input is the residual stream before the FFN's norm.
 */

import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { permuteRows } from '../arrange/neuron-order.ts';
import type { SourceTensor } from '../checkpoint/source.ts';
import { sourceDTypes } from '../checkpoint/source-dtype.ts';
import { openTorch } from '../checkpoint/torch.ts';
import type { FloatDType } from '../dtype.ts';
import { InputError } from '../errors.ts';
import type { Manifest } from '../flash/manifest.ts';

const wanted =
  'A directory with model_0.pt, model_1.pt, ... of fc1.weight and fc2.weight is needed';

/** A matrix as stored in the file, row after row. */
export interface ImportedMatrix {
  readonly dtype: FloatDType;
  readonly bytes: Uint8Array;
}

export interface ImportedPredictor {
  readonly rank: number;
  /** (rank, hidden) */
  readonly a: ImportedMatrix;
  /** (neurons, rank) */
  readonly b: ImportedMatrix;
}

/**
 * Ranks of all layers' predictors, for planning.
 * @throws InputError when a layer's file is missing or is not for this model
 */
export async function importedRanks(dir: string, manifest: Manifest): Promise<number[]> {
  if ((await stat(dir).catch(() => null)) === null) {
    throw new InputError('no such directory', { file: dir }, wanted);
  }
  const ranks: number[] = [];
  for (const layer of manifest.layers.keys()) {
    await withLayer(dir, layer, manifest, async (fc1) => ranks.push(fc1.shape[0] ?? 0));
  }
  return ranks;
}

/** Reads one layer's predictor. */
export async function importPredictor(
  dir: string,
  layer: number,
  manifest: Manifest,
): Promise<ImportedPredictor> {
  const { order } = manifest.layers[layer] ?? {};
  return withLayer(dir, layer, manifest, async (fc1, fc2) => {
    const b = await readMatrix(fc2);
    return {
      rank: fc1.shape[0] ?? 0,
      a: await readMatrix(fc1),
      // The files number neurons like the checkpoint.
      b: order === undefined ? b : { ...b, bytes: permuteRows(b.bytes, order) },
    };
  });
}

async function readMatrix(tensor: SourceTensor): Promise<ImportedMatrix> {
  const { dtype, shape, file, name } = tensor;
  if (dtype !== 'f32' && dtype !== 'f16' && dtype !== 'bf16') {
    throw new InputError(`holds ${dtype}, not f32, f16 or bf16`, { file, tensor: name });
  }
  const elements = (shape[0] ?? 0) * (shape[1] ?? 0);
  const bytes = new Uint8Array(elements * sourceDTypes[dtype].bytes);
  await tensor.read(0, elements, bytes);
  return { dtype, bytes };
}

async function withLayer<T>(
  dir: string,
  layer: number,
  { spec, layers }: Manifest,
  use: (fc1: SourceTensor, fc2: SourceTensor) => Promise<T>,
): Promise<T> {
  const file = join(dir, `model_${layer}.pt`);
  const source = await openTorch(file);
  try {
    const find = (name: string) => {
      const found = source.tensors.get(name);
      if (found === undefined) throw new InputError(`has no ${name}`, { file }, wanted);
      return found;
    };
    const [fc1, fc2] = [find('fc1.weight'), find('fc2.weight')];
    const [rank = 0] = fc1.shape;
    const neurons = layers[layer]?.neurons ?? 0;
    const expected = [
      [fc1, [rank, spec.hiddenSize]],
      [fc2, [neurons, rank]],
    ] as const;
    for (const [tensor, shape] of expected) {
      if (rank < 1 || tensor.shape.join() !== shape.join()) {
        throw new InputError(
          `is of shape (${tensor.shape.join(', ')}); this model's layer ${layer} has ` +
            `${neurons} neurons and a hidden size of ${spec.hiddenSize}`,
          { file, tensor: tensor.name },
          'Use predictors that were made for this model',
        );
      }
    }
    return await use(fc1, fc2);
  } finally {
    await source.close();
  }
}
