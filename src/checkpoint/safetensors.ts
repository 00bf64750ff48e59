/** A safetensors file as a source of tensors: each is one range of the file. */

import { CheckpointFile, type RangeFile } from './file.ts';
import { readSafetensorsHeader, type SafetensorsEntry } from './safetensors-header.ts';
import { checkReadRange } from './shape.ts';
import type { SourceTensor, TensorSource } from './source.ts';
import { sourceDTypes } from './source-dtype.ts';

/**
 * Opens one safetensors file; its header is read and checked, its data is not.
 * @throws InputError when the file is missing, truncated, damaged, or holds an unknown dtype.
 */
export async function openSafetensors(path: string): Promise<TensorSource> {
  const file = await CheckpointFile.open(path);
  try {
    const header = await readSafetensorsHeader(file);
    const tensors = new Map<string, SourceTensor>();
    let bytes = 0;
    for (const entry of header.tensors.values()) {
      tensors.set(entry.name, rangeTensor(file, entry));
      bytes += entry.bytes;
    }
    return { tensors, bytes, close: () => file.close() };
  } catch (error) {
    await file.close();
    throw error;
  }
}

function rangeTensor(file: RangeFile, entry: SafetensorsEntry): SourceTensor {
  const { name, dtype, shape, elements, offset } = entry;
  const elementBytes = sourceDTypes[dtype].bytes;
  return {
    name,
    dtype,
    shape,
    file: file.path,
    contiguous: true,
    async read(start, count, target) {
      checkReadRange(name, elements, elementBytes, start, count, target);
      await file.read(offset + start * elementBytes, target, name);
    },
  };
}
