/** Predictors for tests: made up, or perfect. */

import { closeSync, openSync, readSync } from 'node:fs';
import { join } from 'node:path';
import type { Manifest } from '../../src/flash/manifest.ts';
import { readManifest } from '../../src/flash/manifest-reader.ts';
import {
  type Part,
  type PredictorShape,
  predictorChecksum,
} from '../../src/flash/predictor-file.ts';
import { writePredictors } from '../../src/flash/predictor-writer.ts';
import { tensorNames } from '../../src/models/spec.ts';
import { fromF16, toF16 } from './dtypes.ts';

/** One layer's weights as f32. */
export interface PredictorValues {
  readonly rank: number;
  readonly relu?: boolean;
  readonly input?: 'ffn' | 'residual';
  /** `rows`: there is no A, whatever `a` holds. */
  readonly form?: 'rows';
  readonly a: Float32Array;
  readonly b: Float32Array;
  readonly bias: Float32Array;
  readonly frequency: Float32Array;
}

/** Gives the model in `dir` these predictors, in f32. */
export async function addPredictors(
  dir: string,
  make: (layer: number, manifest: Manifest) => PredictorValues | null,
): Promise<void> {
  const manifest = await readManifest(dir);
  const layers = manifest.layers.map((_, layer) => make(layer, manifest));
  const bytesOf = (layer: number, part: Part) => {
    const values = layers[layer]?.[part] ?? new Float32Array();
    if (part === 'frequency') {
      const halves = Uint16Array.from(values, toF16);
      return new Uint8Array(halves.buffer);
    }
    return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  };
  const report = { sparsity: 0.9, predicted: 0.2, recall: 0.9, precision: 0.5, mass: 0.99 };
  await writePredictors(dir, manifest, {
    producer: 'test',
    dtype: 'f32',
    layers: layers.map(
      (layer): PredictorShape | null =>
        layer && {
          rank: layer.rank,
          relu: layer.relu ?? false,
          input: layer.input ?? 'ffn',
          ...(layer.form && { form: layer.form }),
          report,
        },
    ),
    checksum: (layer, part) => predictorChecksum(bytesOf(layer, part)),
    bytes: async (layer, part) => bytesOf(layer, part),
  });
}

/**
 * The layer's own gate or, without one, its up projection: it wants exactly the neurons that fire. For
 * f16 bundles.
 */
export function perfectPredictor(dir: string, layer: number, manifest: Manifest): PredictorValues {
  const { hiddenSize } = manifest.spec;
  const { neurons = 0, bundleBytes = 0 } = manifest.layers[layer] ?? {};
  const bundles = readTensor(dir, manifest, tensorNames.bundles(layer));
  const b = new Float32Array(neurons * hiddenSize);
  for (let i = 0; i < neurons; i++) {
    for (let j = 0; j < hiddenSize; j++) {
      b[i * hiddenSize + j] = fromF16(bundles.readUInt16LE(i * bundleBytes + 2 * j));
    }
  }
  const a = new Float32Array(hiddenSize * hiddenSize);
  for (let i = 0; i < hiddenSize; i++) a[i * hiddenSize + i] = 1;
  const { gate, threshold } = manifest.spec.ffn;
  const name = gate === 'none' ? tensorNames.upBias(layer) : tensorNames.gateBias(layer);
  const stored = manifest.tensors.has(name) ? readTensor(dir, manifest, name) : null;
  const bias = Float32Array.from(
    { length: neurons },
    (_, i) => (stored?.readFloatLE(4 * i) ?? 0) - threshold,
  );
  return { rank: hiddenSize, a, b, bias, frequency: new Float32Array(neurons).fill(0.1) };
}

function readTensor(dir: string, { tensors }: Manifest, name: string): Buffer {
  const tensor = tensors.get(name);
  if (tensor === undefined) throw new Error(`no ${name}`);
  const bytes = Buffer.alloc(tensor.bytes);
  const fd = openSync(join(dir, tensor.file), 'r');
  readSync(fd, bytes, 0, bytes.length, tensor.offset);
  closeSync(fd);
  return bytes;
}
