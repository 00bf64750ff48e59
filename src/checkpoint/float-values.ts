/** Values of tensors as f32, for values that are computed while they are read. */

import { positiveF16 } from '../dtype.ts';
import { InputError } from '../errors.ts';
import { checkReadRange, elementCount } from './shape.ts';
import type { SourceTensor } from './source.ts';
import { sourceDTypes } from './source-dtype.ts';

/** Reads elements [start, start + out.length) of a tensor into `out`. */
export type ReadValues = (start: number, out: Float32Array) => Promise<void>;

/** The number of values that are computed at once: 512 KiB. */
const pieceValues = 128 * 1024;

/** A tensor that replaces `tensor`: it has the same shape, and `read` supplies its f32 values. */
export function computedTensor(tensor: SourceTensor, read: ReadValues): SourceTensor {
  const elements = elementCount(tensor.shape) ?? 0;
  const { blocks: _blocks, exactAs: _exact, ...rest } = tensor;
  return {
    ...rest,
    dtype: 'f32',
    async read(start, count, target) {
      checkReadRange(tensor.name, elements, 4, start, count, target);
      const aligned = target.byteOffset % 4 === 0;
      const out = aligned
        ? new Float32Array(target.buffer, target.byteOffset, count)
        : new Float32Array(count);
      for (let done = 0; done < count; done += pieceValues) {
        await read(start + done, out.subarray(done, Math.min(count, done + pieceValues)));
      }
      if (!aligned) target.set(new Uint8Array(out.buffer));
    },
  };
}

/** The values of a tensor of floats. */
export function valuesOf(tensor: SourceTensor): ReadValues {
  const { dtype } = tensor;
  if (dtype !== 'f32' && dtype !== 'f16' && dtype !== 'bf16') {
    const refusal =
      tensor.refusal?.() ??
      new InputError(`is ${dtype}, but must be f32, f16 or bf16`, {
        file: tensor.file,
        tensor: tensor.name,
      });
    return () => Promise.reject(refusal);
  }
  const { bytes: size } = sourceDTypes[dtype];
  return async (start, out) => {
    const bytes = new Uint8Array(out.length * size);
    await tensor.read(start, out.length, bytes);
    const view = new DataView(bytes.buffer);
    if (dtype === 'f32') {
      for (let i = 0; i < out.length; i++) out[i] = view.getFloat32(4 * i, true);
    } else if (dtype === 'f16') {
      for (let i = 0; i < out.length; i++) out[i] = half(view.getUint16(2 * i, true));
    } else {
      const bits = new Uint32Array(out.buffer, out.byteOffset, out.length);
      for (let i = 0; i < out.length; i++) bits[i] = view.getUint16(2 * i, true) << 16;
    }
  };
}

/** The value of an f16; NaN where it is not finite. */
function half(bits: number): number {
  if ((bits & 0x7c00) === 0x7c00) return Number.NaN;
  return (bits >> 15 === 0 ? 1 : -1) * positiveF16(bits & 0x7fff);
}
