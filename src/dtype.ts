/** The number formats that weights are stored in: one row each. */

export type DType = 'f32' | 'f16' | 'bf16' | 'q8' | 'q4';
/** Formats of single values, which checkpoints may hold as well. */
export type FloatDType = 'f32' | 'f16' | 'bf16';

/** Formats that keys and values of the sequence are kept in. */
export const kvDTypes = ['f32', 'f16'] as const satisfies readonly DType[];
export type KvDType = (typeof kvDTypes)[number];

export interface DTypeRow {
  /** Values that are stored together: 1, or those of a block that shares a scale. */
  readonly blockElements: number;
  /** Bytes of such a block. */
  readonly blockBytes: number;
  /** The name safetensors gives it; quantised rows are plain bytes to it. */
  readonly safetensors: string;
}

export const dtypes: Readonly<Record<DType, DTypeRow>> = {
  f32: { blockElements: 1, blockBytes: 4, safetensors: 'F32' },
  f16: { blockElements: 1, blockBytes: 2, safetensors: 'F16' },
  bf16: { blockElements: 1, blockBytes: 2, safetensors: 'BF16' },
  // 32 values of 8 or 4 bits and a scale of 16 bits, as drawn in assembly/block.ts.
  q8: { blockElements: 32, blockBytes: 34, safetensors: 'U8' },
  q4: { blockElements: 32, blockBytes: 18, safetensors: 'U8' },
};

export const dtypeNames = Object.keys(dtypes) as readonly DType[];

export const floatDTypes = ['f32', 'f16', 'bf16'] as const satisfies readonly FloatDType[];

/** Bytes of a row of `elements` values; a last block that is not full is stored in full. */
export function byteLength(dtype: DType, elements: number): number {
  const { blockElements, blockBytes } = dtypes[dtype];
  return Math.ceil(elements / blockElements) * blockBytes;
}

/** Whether values are stored in blocks, so that rows are more than values one after the other. */
export function isQuantised(dtype: DType): boolean {
  return dtypes[dtype].blockElements > 1;
}

/** The value of a float16 that is neither negative nor NaN. */
export function positiveF16(bits: number): number {
  const exponent = bits >> 10;
  const fraction = bits & 1023;
  return exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15);
}
