/** A tensor whose values are stored contiguously in a file, in the dtype in which they are read. */

import type { RangeFile } from './file.ts';
import { checkReadRange } from './shape.ts';
import type { SourceDType, SourceTensor } from './source.ts';
import { sourceDTypes } from './source-dtype.ts';

export interface TensorRange {
  readonly name: string;
  readonly dtype: SourceDType;
  readonly shape: readonly number[];
  /** Product of the shape. */
  readonly elements: number;
  /** Where the data begins, in bytes from the start of the file. */
  readonly offset: number;
}

export function rangeTensor(file: RangeFile, range: TensorRange): SourceTensor {
  const { name, dtype, shape, elements, offset } = range;
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
