/**
 * A tensor of quantised blocks, as a source of f32 values, which are dequantised piece by piece while they
 * are read, and as a source of the blocks themselves.
 */

import { ggufDTypes } from '../../dtype.ts';
import type { RangeFile } from '../file.ts';
import { checkReadRange } from '../shape.ts';
import type { SourceTensor, StoredBlocks } from '../source.ts';
import type { Dequantise } from './dequantise.ts';
import type { GgufTensor } from './header.ts';

/** Types whose values are -1, 0 or 1 times the scale of a block of 256. */
const ternary: readonly string[] = ['TQ1_0', 'TQ2_0'];
/** Bytes of blocks that are read at once: large enough for an efficient read, and little memory. */
const pieceBytes = 512 * 1024;

export function quantisedTensor(
  file: RangeFile,
  tensor: GgufTensor,
  dequantise: Dequantise,
): SourceTensor {
  const { name, shape, elements, type } = tensor;
  const { blockElements, blockBytes } = type;
  const pieceBlocks = Math.floor(pieceBytes / blockBytes);
  const edge = new Float32Array(blockElements);
  /** Buffers that no read is using. */
  const free: Uint8Array[] = [];

  /** Reads and dequantises the blocks that hold elements [start, start + out.length). */
  async function readPiece(start: number, out: Float32Array): Promise<void> {
    const firstBlock = Math.floor(start / blockElements);
    const endBlock = Math.ceil((start + out.length) / blockElements);
    const bytes = (endBlock - firstBlock) * blockBytes;
    const kept = free.pop();
    const buffer = kept !== undefined && kept.length >= bytes ? kept : new Uint8Array(bytes);
    await file.read(tensor.offset + firstBlock * blockBytes, buffer.subarray(0, bytes), name);
    // The code below is synchronous, so concurrent reads can share one edge buffer.
    const end = start + out.length;
    const firstWhole = Math.ceil(start / blockElements);
    const endWhole = Math.floor(end / blockElements);
    if (firstWhole < endWhole) {
      const at = (firstWhole - firstBlock) * blockBytes;
      dequantise(buffer, at, endWhole - firstWhole, out, firstWhole * blockElements - start);
    }
    for (const block of firstBlock === endBlock - 1 ? [firstBlock] : [firstBlock, endBlock - 1]) {
      if (block >= firstWhole && block < endWhole) continue;
      dequantise(buffer, (block - firstBlock) * blockBytes, 1, edge, 0);
      const from = Math.max(start, block * blockElements);
      const to = Math.min(end, (block + 1) * blockElements);
      const base = block * blockElements;
      out.set(edge.subarray(from - base, to - base), from - start);
    }
    free.push(buffer);
  }

  const blocks = storedBlocks(file, tensor);
  return {
    name,
    dtype: 'f32',
    storedAs: type.name,
    ...(blocks && { blocks }),
    // The bytes of these blocks differ from those of a model directory, but the values are the same.
    ...(ternary.includes(type.name) && { exactAs: 'ternary' as const }),
    shape,
    file: file.path,
    contiguous: true,
    async read(start, count, target) {
      checkReadRange(name, elements, 4, start, count, target);
      const aligned = target.byteOffset % 4 === 0;
      const out = aligned
        ? new Float32Array(target.buffer, target.byteOffset, count)
        : new Float32Array(count);
      for (let done = 0; done < count; ) {
        // Pieces end at block boundaries, so that only the ends of the whole range are partial blocks.
        const fromBlock = Math.floor((start + done) / blockElements);
        const end = Math.min(start + count, (fromBlock + pieceBlocks) * blockElements);
        const length = end - start - done;
        await readPiece(start + done, out.subarray(done, done + length));
        done += length;
      }
      if (!aligned) target.set(new Uint8Array(out.buffer));
    },
  };
}

/** The blocks as stored in the file; null if a model directory cannot store this type. */
function storedBlocks(
  file: RangeFile,
  { name, offset, elements, type }: GgufTensor,
): StoredBlocks | null {
  const dtype = ggufDTypes.find((known) => known === type.name.toLowerCase());
  if (dtype === undefined) return null;
  const all = elements / type.blockElements;
  return {
    dtype,
    async read(first, count, target) {
      checkReadRange(name, all, type.blockBytes, first, count, target);
      await file.read(offset + first * type.blockBytes, target, name);
    },
  };
}
