/** Kernels that compute with weights, one set for each format of weights in memory. */

import {
  type DType,
  type Format,
  type FormatName,
  type FoursFormat,
  formats,
  inFours,
  isNeuronDType,
  type NeuronDType,
  type RowFormat,
} from '../dtype.ts';
import { kernelSizes } from './constants.ts';
import { formatKernelTable } from './format-kernel-table.ts';
import type { KernelOf } from './signature.ts';

export const { neuronGroup } = kernelSizes;

/**
 * Bytes of `scratch` for matmul, exactMatmul, ffnUp and ffnDown with up to `cols` columns: kernels unpack
 * weights into it that are used for several positions, and quantise activations for formats with blocks.
 * Without scratch (undefined or 0), f32, f16 and bf16 give the same results to the bit, only slower: f16
 * takes up to twice as long. matmul and ffnUp of formats with blocks need it.
 */
export function scratchBytes(cols: number): number {
  const { unpackedColumns, unpackedBlockBytes, quantisedPositions } = kernelSizes;
  const { activationBlockBytes, activationScaleBytes } = kernelSizes;
  const blocks = Math.ceil(cols / formats.q8.blockElements);
  // Addresses, and columns with a partial block at either end; or activations.
  const columns = unpackedColumns * (blocks + 1) * unpackedBlockBytes;
  const activations = quantisedPositions * blocks * (activationBlockBytes + activationScaleBytes);
  return unpackedColumns * 4 + Math.max(columns, activations);
}

/** Bytes from one column to the next in quantised rows; see `quantise` in format-kernel-table.ts. */
export function quantisedStride(positions: number): number {
  const { pairedPositions, quantisedGroup, quantisedGroupBytes, quantisedPairBytes } = kernelSizes;
  return (positions < pairedPositions ? quantisedGroupBytes : quantisedPairBytes) / quantisedGroup;
}

/** Bytes of `positions` quantised rows of `cols` columns, which are whole groups. */
export function quantisedBytes(cols: number, positions: number): number {
  const rows = positions < kernelSizes.pairedPositions ? positions : Math.ceil(positions / 2);
  return rows * cols * quantisedStride(positions);
}

type Table = typeof formatKernelTable;

/** The kernels that a format has. */
export type FormatKernels<Name extends FormatName> = {
  readonly [Kernel in keyof Table as Name extends keyof Table[Kernel]['implementations']
    ? Kernel
    : never]: KernelOf<Table[Kernel]>;
};

type KernelsOfAll<Names extends FormatName> = {
  readonly [Kernel in keyof Table as [Names] extends [keyof Table[Kernel]['implementations']]
    ? Kernel
    : never]: KernelOf<Table[Kernel]>;
};

/** The kernels that every format has whose rows are not interleaved. */
export type WeightKernels = KernelsOfAll<RowFormat>;
/** The kernels that every format of FFN bundles has. */
export type NeuronKernels = KernelsOfAll<NeuronDType | 'packed_f16'>;

/** The kernels of all formats; those of stored weights by the names of their dtypes. */
export interface KernelsByFormat {
  readonly byDType: { readonly [Name in DType]: FormatKernels<Name> };
  readonly packedF16: FormatKernels<'packed_f16'>;
  /** For formats that interleave four rows. */
  readonly fours: { readonly [Name in FoursFormat]: FormatKernels<Name> };
}

/** The kernels that compute with rows of a format. */
export function weightKernels(
  { byDType, packedF16 }: KernelsByFormat,
  { name }: Format<RowFormat>,
): WeightKernels {
  return name === 'packed_f16' ? packedF16 : byDType[name];
}

/**
 * Products with rows of a format: the fastest ones or, with `exact`, where these round activations to 8 bits,
 * products in f32 with the weights' values.
 */
export function matmulOf(
  kernels: KernelsByFormat,
  format: Format,
  exact: boolean,
): KernelOf<Table['matmul']> {
  if (exact && !format.packed) {
    const own = kernels.byDType[format.name as DType];
    if ('exactMatmul' in own) return own.exactMatmul;
  }
  return productKernels(kernels, format).matmul;
}

/** Whether products in the format of this name accept input that was quantised before. */
export function quantisesInput(name: FormatName): boolean {
  return name in formatKernelTable.quantise.implementations;
}

/**
 * The kernel that quantises the input of products in a format for several of them; null where there is none.
 */
export function quantiseOf(
  kernels: KernelsByFormat,
  format: Format,
  exact: boolean,
): KernelOf<Table['quantise']> | null {
  if (exact) return null;
  const own = productKernels(kernels, format);
  return 'quantise' in own ? (own.quantise as KernelOf<Table['quantise']>) : null;
}

/** The kernel that multiplies with rows of a format, interleaved or not. */
export function productKernels(kernels: KernelsByFormat, format: Format): KernelsOfAll<FormatName> {
  if (inFours(format)) return kernels.fours[format.name];
  return weightKernels(kernels, format as Format<RowFormat>);
}

/**
 * The kernels that compute with bundles of a format.
 * @throws RangeError where bundles cannot be in it
 */
export function neuronKernels(
  { byDType, packedF16 }: KernelsByFormat,
  { name }: Format,
): NeuronKernels {
  if (name === 'packed_f16') return packedF16;
  if (!isNeuronDType(name)) throw new RangeError(`FFN bundles cannot be in ${name}`);
  return byDType[name];
}
