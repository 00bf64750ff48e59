/** A tensor of a type that is not read: it may be there, as long as nobody needs it. */

import type { InputError } from '../errors.ts';
import type { SourceTensor } from './source.ts';

/** What is known of a tensor whose values are not. */
export interface UnreadTensor extends Pick<SourceTensor, 'name' | 'shape' | 'file'> {
  /** The type, as the file's format writes it: `F8_E4M3`. */
  readonly storedAs: string;
}

/**
 * A source that can be listed; who needs it, or reads it, gets `refusal`, which is not made before: a
 * file may have a million such tensors.
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
