/** A safetensors file as a source of tensors: each is one range of the file. */

import { InputError } from '../errors.ts';
import { type OpenFile, openLocal } from './file.ts';
import { rangeTensor } from './range-tensor.ts';
import { readSafetensorsHeader, type SafetensorsEntry } from './safetensors-header.ts';
import type { SourceTensor, TensorSource } from './source.ts';
import { dtypeOfSafetensors } from './source-dtype.ts';
import { unreadTensor } from './unread-tensor.ts';

/**
 * Opens one safetensors file; reads and checks its header, but not its data.
 * @throws InputError when the file is missing, truncated or damaged.
 */
export async function openSafetensors(
  path: string,
  open: OpenFile = openLocal,
): Promise<TensorSource> {
  const file = await open(path);
  try {
    const header = await readSafetensorsHeader(file);
    const tensors = new Map<string, SourceTensor>();
    let bytes = 0;
    for (const entry of header.tensors.values()) {
      const { dtype } = entry;
      const tensor =
        dtype === 'other' ? unread(entry, path) : rangeTensor(file, { ...entry, dtype });
      tensors.set(entry.name, tensor);
      bytes += entry.bytes;
    }
    return { tensors, bytes, close: () => file.close() };
  } catch (error) {
    await file.close();
    throw error;
  }
}

function unread(entry: SafetensorsEntry, file: string): SourceTensor {
  return unreadTensor({ ...entry, file }, () => {
    const known = [...dtypeOfSafetensors.keys()].join(', ');
    const message = `dtype "${entry.storedAs}" is not supported (supported: ${known})`;
    return new InputError(message, { file, tensor: entry.name });
  });
}
