/** A file written by `torch.save`, in either of its two formats. */

import { InputError } from '../errors.ts';
import { type OpenFile, openLocal } from './file.ts';
import type { TensorSource } from './source.ts';
import { isTorchLegacy, legacyHeadBytes, readTorchLegacy } from './torch-legacy.ts';
import { readTorchZip } from './torch-zip.ts';

/** The first bytes of a zip archive: the header of its first entry. */
const zipMagic = Buffer.from('PK\x03\x04', 'latin1');

/**
 * Opens `pytorch_model.bin`, a `.pt` or a `.pth` file. Reads its pickle but not its data, and executes
 * nothing in it.
 * @throws InputError when the file is missing, truncated, damaged, in neither format, or asks for
 * anything but tensors.
 */
export async function openTorch(path: string, open: OpenFile = openLocal): Promise<TensorSource> {
  const file = await open(path);
  try {
    const head = Buffer.alloc(Math.min(legacyHeadBytes, file.size));
    await file.read(0, head);
    const isZip = zipMagic.equals(head.subarray(0, zipMagic.length));
    if (!isZip && !isTorchLegacy(head)) {
      throw new InputError(
        'was not written by torch.save: it begins with neither the zip signature nor the legacy magic number',
        { file: path, offset: 0 },
        'Download it again, or save the state_dict as safetensors',
      );
    }
    const source = await (isZip ? readTorchZip(file) : readTorchLegacy(file));
    return { ...source, close: () => file.close() };
  } catch (error) {
    await file.close();
    throw error;
  }
}
