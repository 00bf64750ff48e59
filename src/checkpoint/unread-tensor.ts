/** A tensor of an unsupported type: it may exist as long as nothing needs it. */

import type { InputError } from '../errors.ts';
import type { SourceTensor } from './source.ts';

/** The known properties of a tensor with unreadable values. */
export interface UnreadTensor extends Pick<SourceTensor, 'name' | 'shape' | 'file'> {
  /** The type, as the file's format writes it: `F8_E4M3`. */
  readonly storedAs: string;
}

/**
 * A tensor that can be listed. A caller that needs or reads it gets `refusal`, which is created only then:
 * a file may have a million such tensors.
 */
export function unreadTensor(tensor: UnreadTensor, refusal: () => InputError): SourceTensor {
  const { name, shape, file, storedAs } = tensor;
  return {
    name,
    dtype: 'other',
    storedAs,
    refusal,
    shape,
    file,
    contiguous: false,
    read: () => Promise.reject(refusal()),
  };
}
