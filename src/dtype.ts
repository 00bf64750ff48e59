/** The number formats that weights are stored in: one row each. */

export type DType = 'f32' | 'f16' | 'bf16';

export interface DTypeRow {
  /** Bytes of one element. */
  readonly bytes: number;
  /** The name safetensors gives it. */
  readonly safetensors: string;
}

export const dtypes: Readonly<Record<DType, DTypeRow>> = {
  f32: { bytes: 4, safetensors: 'F32' },
  f16: { bytes: 2, safetensors: 'F16' },
  bf16: { bytes: 2, safetensors: 'BF16' },
};

export const dtypeNames = Object.keys(dtypes) as readonly DType[];

/** Bytes of `elements` values. */
export function byteLength(dtype: DType, elements: number): number {
  return dtypes[dtype].bytes * elements;
}
