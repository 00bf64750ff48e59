/**
 * Matrices whose values are -1, 0 or 1 times one scale, as in BitNet checkpoints. They become tensors of
 * f32 values that a ternary format holds exactly:
 *
 *     packed    <name>.weight u8 (rows / 4, columns) and <name>.weight_scale (1): bits 2k and 2k + 1 of row
 *               r are 1 + the value of row r + k rows / 4
 *     beside    <name>.weight in floats that are -1, 0 or 1, and <name>.weight_scale
 *     online    <name>.weight in any floats: they are divided by the mean of their magnitudes and rounded
 */

import { InputError } from '../errors.ts';
import type { TernaryConfig } from '../models/ternary-config.ts';
import { computedTensor, type ReadValues, valuesOf } from './float-values.ts';
import { elementCount } from './shape.ts';
import type { SourceTensor, TensorSource } from './source.ts';

const scaleEnd = '_scale';
/** Values in a byte of a packed matrix. */
const perByte = 4;
/** Bytes that are read at once. */
const pieceBytes = 512 * 1024;
/** The lower bound of the mean of magnitudes. */
const leastMean = 1e-5;

/**
 * The source with such matrices in place of their stored form, which `config` describes.
 * @throws InputError for a matrix without its scale, and for shapes that contradict each other
 */
export function withTernary(source: TensorSource, config: TernaryConfig | null): TensorSource {
  if (config === null) return source;
  const tensors = new Map(source.tensors);
  for (const [name, tensor] of source.tensors) {
    if (!/\.layers\.\d+\..*\.weight$/.test(name) || tensor.shape.length !== 2) continue;
    const scale = source.tensors.get(`${name}${scaleEnd}`);
    if (scale !== undefined) {
      tensors.delete(`${name}${scaleEnd}`);
      tensors.set(name, scaled(tensor, scale, config));
    } else if (config.mode === 'online') {
      tensors.set(name, rounded(tensor));
    } else {
      throw new InputError(
        `has no ${scaleEnd.slice(1)} beside it, although the configuration says that weights are ternary`,
        { file: tensor.file, tensor: name },
        "If these weights are not quantised, remove 'quantization_config' from config.json",
      );
    }
  }
  return { ...source, tensors };
}

/** A matrix with a scale tensor, packed or not. */
function scaled(
  tensor: SourceTensor,
  scale: SourceTensor,
  { divided }: TernaryConfig,
): SourceTensor {
  const [stored = 0, columns = 0] = tensor.shape;
  if (elementCount(scale.shape) !== 1) {
    throw new InputError(
      `has the shape (${scale.shape.join(', ')}), but must be one scale for the whole matrix`,
      {
        file: scale.file,
        tensor: scale.name,
      },
    );
  }
  const factor = once(async () => {
    const one = new Float32Array(1);
    await valuesOf(scale)(0, one);
    const [value = 0] = one;
    return divided ? Math.fround(1 / value) : value;
  });
  const packed = tensor.dtype === 'u8';
  const read = packed ? unpacked(tensor) : valuesOf(tensor);
  const shape = packed ? [stored * perByte, columns] : tensor.shape;
  return ternary(tensor, shape, async (start, out) => {
    const by = await factor();
    await read(start, out);
    for (let i = 0; i < out.length; i++) out[i] = (out[i] ?? 0) * by;
  });
}

/** A matrix of floats, which are rounded. */
function rounded(tensor: SourceTensor): SourceTensor {
  const read = valuesOf(tensor);
  const elements = elementCount(tensor.shape) ?? 0;
  const scale = once(async () => {
    const piece = new Float32Array(pieceBytes / 4);
    let sum = 0;
    for (let start = 0; start < elements; start += piece.length) {
      const part = piece.subarray(0, Math.min(piece.length, elements - start));
      await read(start, part);
      for (const value of part) sum += Math.abs(value);
    }
    return Math.fround(1 / Math.max(leastMean, Math.fround(sum / elements)));
  });
  return ternary(tensor, tensor.shape, async (start, out) => {
    const by = await scale();
    const step = Math.fround(1 / by);
    await read(start, out);
    for (let i = 0; i < out.length; i++) {
      const value = Math.fround((out[i] ?? 0) * by);
      // Ties round to even, so they become 0. A NaN stays NaN, so that the error can name its place.
      const size = Math.abs(value);
      out[i] = Number.isFinite(value) ? (size > 0.5 ? Math.sign(value) * step : 0) : value;
    }
  });
}

/** The result of {@link withTernary} for a tensor. */
function ternary(tensor: SourceTensor, shape: readonly number[], read: ReadValues): SourceTensor {
  return {
    ...computedTensor({ ...tensor, shape }, read),
    storedAs: 'ternary',
    exactAs: 'ternary',
  };
}

/** The integers of a packed matrix. */
function unpacked(tensor: SourceTensor): ReadValues {
  const quarter = elementCount(tensor.shape) ?? 0;
  return async (start, out) => {
    for (let done = 0; done < out.length; ) {
      const at = start + done;
      const part = Math.floor(at / quarter);
      const first = at - part * quarter;
      const bytes = new Uint8Array(Math.min(out.length - done, quarter - first));
      await tensor.read(first, bytes.length, bytes);
      for (let i = 0; i < bytes.length; i++) {
        const bits = ((bytes[i] ?? 0) >> (2 * part)) & 3;
        if (bits === 3) {
          throw new InputError(
            `holds 2 among weights that are -1, 0 or 1, at element ${at + i}`,
            { file: tensor.file, tensor: tensor.name },
            'The checkpoint is damaged',
          );
        }
        out[done + i] = bits - 1;
      }
      done += bytes.length;
    }
  };
}

/** The result of `make`, which is called at the first use. */
function once<Result>(make: () => Promise<Result>): () => Promise<Result> {
  let made: Promise<Result> | undefined;
  return () => {
    made ??= make();
    return made;
  };
}
