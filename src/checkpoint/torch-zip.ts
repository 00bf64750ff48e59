/**
 * What `torch.save` writes since PyTorch 1.6: a zip archive whose entries are stored.
 *
 *     <name>/data.pkl     the state_dict, a pickle; tensors name their storage by key
 *     <name>/byteorder    `little` or `big`; older files have none and are little-endian
 *     <name>/data/<key>   the bytes of one storage
 *     <name>/version, <name>/.data/serialization_id and others, of no use here
 */

import { InputError } from '../errors.ts';
import type { RangeFile } from './file.ts';
import { maxPickleBytes, unpickle } from './pickle.ts';
import type { TensorSource } from './source.ts';
import { TorchHost } from './torch-globals.ts';
import { type StorageRange, torchTensors } from './torch-tensors.ts';
import { ZipArchive } from './zip.ts';

/** Longest byteorder record read. */
const maxByteOrderBytes = 64;

const pickleName = 'data.pkl';

/**
 * The tensors of the archive in `file`.
 * @throws InputError when the archive or its pickle is damaged or big-endian, or the pickle uses a name
 * that is not allowed.
 */
export async function readTorchZip(file: RangeFile): Promise<Omit<TensorSource, 'close'>> {
  const zip = await ZipArchive.open(file);
  const prefix = archivePrefix(zip, file.path);
  const byteOrder = await zip.read(`${prefix}byteorder`, maxByteOrderBytes);
  if (byteOrder !== undefined && byteOrder.toString('latin1') !== 'little') {
    throw new InputError('was saved on a big-endian machine, which is not supported', {
      file: file.path,
    });
  }

  const pickleRange = await zip.range(prefix + pickleName);
  const pickle = await zip.read(prefix + pickleName, maxPickleBytes);
  const host = new TorchHost();
  const origin = { file: file.path, offset: pickleRange?.offset ?? 0 };
  const { value } = unpickle(pickle ?? Buffer.alloc(0), origin, host);

  const ranges = new Map<string, StorageRange>();
  for (const key of host.storages.keys()) {
    const range = await zip.range(`${prefix}data/${key}`);
    if (range !== undefined) ranges.set(key, range);
  }
  return torchTensors(value, file, ranges);
}

/** The path before `data.pkl`: the name under which the file was first saved, and a slash. */
function archivePrefix(zip: ZipArchive, file: string): string {
  const found = [...zip.names].filter(
    (name) => name === pickleName || name.endsWith(`/${pickleName}`),
  );
  const [name] = found;
  if (name === undefined || found.length > 1) {
    throw new InputError(
      `is a zip archive with ${found.length} entries named data.pkl; torch.save writes exactly one`,
      {
        file,
      },
    );
  }
  return name.slice(0, -pickleName.length);
}
