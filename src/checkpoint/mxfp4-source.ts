/**
 * Tensors in MXFP4 as in Hugging Face checkpoints: `<name>_blocks` (..., blocks, 16) with two neighbouring
 * values in each byte, and `<name>_scales` (..., blocks), one exponent each. Here they become one tensor
 * `<name>` (..., 32 blocks) in the blocks of GGUF files, whose bytes hold elements j and j + 16.
 */

import { InputError } from '../errors.ts';
import type { RangeFile } from './file.ts';
import { ggmlTypes } from './gguf/ggml-types.ts';
import { quantisedTensor } from './gguf/quantised-tensor.ts';
import { elementCount } from './shape.ts';
import type { SourceTensor, TensorSource } from './source.ts';

/** The type's code in ggml. */
const mxfp4Code = 39;
const [blocksEnd, scalesEnd] = ['_blocks', '_scales'];
/** Bytes of a block's elements in the checkpoint. */
const packedBytes = 16;

/**
 * The source with each such pair as one tensor.
 * @throws InputError for a pair whose shapes contradict each other
 */
export function withMxfp4(source: TensorSource): TensorSource {
  const tensors = new Map(source.tensors);
  for (const [key, packed] of source.tensors) {
    if (!key.endsWith(blocksEnd)) continue;
    const name = key.slice(0, -blocksEnd.length);
    const scales = source.tensors.get(`${name}${scalesEnd}`);
    if (packed.dtype !== 'u8' || scales?.dtype !== 'u8') continue;
    tensors.delete(key);
    tensors.delete(`${name}${scalesEnd}`);
    tensors.set(name, joined(name, packed, scales));
  }
  return { ...source, tensors };
}

function joined(name: string, packed: SourceTensor, scales: SourceTensor): SourceTensor {
  const type = ggmlTypes.get(mxfp4Code);
  if (type?.dequantise == null) throw new Error('MXFP4 is not read');
  const [bytes, ...others] = [...packed.shape].reverse();
  const same = others.reverse().join() === scales.shape.join();
  if (bytes !== packedBytes || !same || scales.shape.length === 0) {
    throw new InputError(
      `has the shape (${packed.shape.join(', ')}) and its scales have (${scales.shape.join(', ')}): that is not MXFP4`,
      { file: packed.file, tensor: packed.name },
    );
  }
  const shape = [...scales.shape.slice(0, -1), (scales.shape.at(-1) ?? 0) * type.blockElements];
  const blocks = elementCount(scales.shape);
  if (blocks === undefined) throw new Error(`${name} is too large`);
  const elements = blocks * type.blockElements;
  const file = blockFile(packed, scales, blocks, type.blockBytes);
  const tensor = { name, type, shape, elements, offset: 0, bytes: file.size };
  return quantisedTensor(file, tensor, type.dequantise);
}

/** A virtual file that holds the blocks one after the other; it is read in whole blocks. */
function blockFile(
  packed: SourceTensor,
  scales: SourceTensor,
  blocks: number,
  blockBytes: number,
): RangeFile {
  return {
    path: packed.file,
    size: blocks * blockBytes,
    async read(offset, target) {
      const [first, count] = [offset / blockBytes, target.length / blockBytes];
      const exponents = new Uint8Array(count);
      const elements = new Uint8Array(count * packedBytes);
      await Promise.all([
        scales.read(first, count, exponents),
        packed.read(first * packedBytes, elements.length, elements),
      ]);
      for (let block = 0; block < count; block++) {
        const to = block * blockBytes;
        const from = block * packedBytes;
        target[to] = exponents[block] ?? 0;
        for (let j = 0; j < packedBytes; j++) {
          const shift = 4 * (j & 1);
          const low = ((elements[from + (j >> 1)] ?? 0) >> shift) & 15;
          const high = ((elements[from + 8 + (j >> 1)] ?? 0) >> shift) & 15;
          target[to + 1 + j] = low | (high << 4);
        }
      }
    },
  };
}
