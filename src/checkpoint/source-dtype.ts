/** The element types of foreign checkpoints: one row each, with the name every format gives it. */

import type { SourceDType } from './source.ts';

export interface SourceDTypeRow {
  /** Bytes of one element. */
  readonly bytes: number;
  /** Name in a safetensors header. */
  readonly safetensors: string;
  /** Name of the torch dtype, without `torch.`. */
  readonly torch: string;
  /** Name of the torch storage class, without `torch.`. */
  readonly torchStorage: string;
}

export const sourceDTypes: Readonly<Record<SourceDType, SourceDTypeRow>> = {
  f64: { bytes: 8, safetensors: 'F64', torch: 'float64', torchStorage: 'DoubleStorage' },
  f32: { bytes: 4, safetensors: 'F32', torch: 'float32', torchStorage: 'FloatStorage' },
  f16: { bytes: 2, safetensors: 'F16', torch: 'float16', torchStorage: 'HalfStorage' },
  bf16: { bytes: 2, safetensors: 'BF16', torch: 'bfloat16', torchStorage: 'BFloat16Storage' },
  i64: { bytes: 8, safetensors: 'I64', torch: 'int64', torchStorage: 'LongStorage' },
  i32: { bytes: 4, safetensors: 'I32', torch: 'int32', torchStorage: 'IntStorage' },
  i16: { bytes: 2, safetensors: 'I16', torch: 'int16', torchStorage: 'ShortStorage' },
  i8: { bytes: 1, safetensors: 'I8', torch: 'int8', torchStorage: 'CharStorage' },
  u8: { bytes: 1, safetensors: 'U8', torch: 'uint8', torchStorage: 'ByteStorage' },
  bool: { bytes: 1, safetensors: 'BOOL', torch: 'bool', torchStorage: 'BoolStorage' },
};

/** Bytes per element of the safetensors types that are not supported here. */
export const unreadSafetensors: ReadonlyMap<string, number> = new Map([
  ['F4', 1 / 2],
  ['F6_E2M3', 3 / 4],
  ['F6_E3M2', 3 / 4],
  ['F8_E4M3', 1],
  ['F8_E4M3FNUZ', 1],
  ['F8_E5M2', 1],
  ['F8_E5M2FNUZ', 1],
  ['F8_E8M0', 1],
  ['U16', 2],
  ['U32', 4],
  ['U64', 8],
  ['C64', 8],
]);

/** Bytes per element of the types that have a storage class in torch and are not supported here. */
export const unreadTorch: ReadonlyMap<string, number> = new Map([
  ['complex64', 8],
  ['complex128', 16],
  ['qint8', 1],
  ['quint8', 1],
  ['qint32', 4],
]);

const names = Object.keys(sourceDTypes) as readonly SourceDType[];

function byName(column: 'safetensors' | 'torch' | 'torchStorage') {
  return new Map(names.map((dtype) => [sourceDTypes[dtype][column], dtype] as const));
}

/** `F16` to `f16`, and so on. */
export const dtypeOfSafetensors: ReadonlyMap<string, SourceDType> = byName('safetensors');
/** `float16` to `f16`, and so on. */
export const dtypeOfTorch: ReadonlyMap<string, SourceDType> = byName('torch');
/** `HalfStorage` to `f16`, and so on. */
export const dtypeOfTorchStorage: ReadonlyMap<string, SourceDType> = byName('torchStorage');
