/** A safetensors file as a source of tensors: each is one range of the file. */

import { CheckpointFile } from './file.ts';
import { rangeTensor } from './range-tensor.ts';
import { readSafetensorsHeader } from './safetensors-header.ts';
import type { SourceTensor, TensorSource } from './source.ts';

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
