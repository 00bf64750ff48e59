/** Tensors as torch.save writes them. */

import { torchPickle, torchZip, type WrittenTensor } from '../checkpoint/torch-writer.ts';
import type { Tensors } from './safetensors.ts';

const storageClasses: Readonly<Record<string, readonly [name: string, elementBytes: number]>> = {
  F32: ['FloatStorage', 4],
  F16: ['HalfStorage', 2],
  BF16: ['BFloat16Storage', 2],
};

/** A zip archive of a state_dict; each tensor has a storage of its own. */
export function torchFile(tensors: Tensors): Buffer {
  const written: Record<string, WrittenTensor> = {};
  const storages: Record<string, Uint8Array> = {};
  for (const [name, { dtype, shape, data }] of tensors) {
    const [storageClass = '', elementBytes = 1] = storageClasses[dtype] ?? [];
    const key = String(Object.keys(storages).length);
    const strides = shape.map((_, axis) =>
      shape.slice(axis + 1).reduce((product, size) => product * size, 1),
    );
    const elements = data.length / elementBytes;
    written[name] = { key, storageClass, elements, offset: 0, shape, strides };
    storages[key] = data;
  }
  return torchZip(torchPickle(written), storages);
}
