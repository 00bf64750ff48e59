/**
 * The element types of GGUF tensors: one row for each supported type, and the names of the others, so that
 * an error can name them where they are needed.
 */

import {
  type Dequantise,
  dequantiseIq4Nl,
  dequantiseIq4Xs,
  dequantiseMxfp4,
  dequantiseQ2K,
  dequantiseQ3K,
  dequantiseQ4_0,
  dequantiseQ4_1,
  dequantiseQ4K,
  dequantiseQ5_0,
  dequantiseQ5_1,
  dequantiseQ5K,
  dequantiseQ6K,
  dequantiseQ8_0,
  dequantiseTq1_0,
  dequantiseTq2_0,
} from './dequantise.ts';

export interface GgmlType {
  /** As the format's documentation writes it: `Q4_K`. */
  readonly name: string;
  /** Values that are stored together: 1, or those of a block. Rows are whole blocks. */
  readonly blockElements: number;
  readonly blockBytes: number;
  /** The dtype that its values are read as; `other` if they cannot be read. */
  readonly dtype: 'f32' | 'f16' | 'bf16' | 'other';
  /** How blocks become f32; null if the type has no blocks. */
  readonly dequantise: Dequantise | null;
}

const float = (name: string, dtype: GgmlType['dtype'], blockBytes: number): GgmlType => {
  return { name, blockElements: 1, blockBytes, dtype, dequantise: null };
};
const blocks = (
  name: string,
  blockElements: number,
  blockBytes: number,
  dequantise: Dequantise,
): GgmlType => {
  return { name, blockElements, blockBytes, dtype: 'f32', dequantise };
};

/** By the code that a tensor's header entry holds. */
export const ggmlTypes: ReadonlyMap<number, GgmlType> = new Map([
  [0, float('F32', 'f32', 4)],
  [1, float('F16', 'f16', 2)],
  [2, blocks('Q4_0', 32, 18, dequantiseQ4_0)],
  [3, blocks('Q4_1', 32, 20, dequantiseQ4_1)],
  [6, blocks('Q5_0', 32, 22, dequantiseQ5_0)],
  [7, blocks('Q5_1', 32, 24, dequantiseQ5_1)],
  [8, blocks('Q8_0', 32, 34, dequantiseQ8_0)],
  [10, blocks('Q2_K', 256, 84, dequantiseQ2K)],
  [11, blocks('Q3_K', 256, 110, dequantiseQ3K)],
  [12, blocks('Q4_K', 256, 144, dequantiseQ4K)],
  [13, blocks('Q5_K', 256, 176, dequantiseQ5K)],
  [14, blocks('Q6_K', 256, 210, dequantiseQ6K)],
  [20, blocks('IQ4_NL', 32, 18, dequantiseIq4Nl)],
  [23, blocks('IQ4_XS', 256, 136, dequantiseIq4Xs)],
  [30, float('BF16', 'bf16', 2)],
  [34, blocks('TQ1_0', 256, 54, dequantiseTq1_0)],
  [35, blocks('TQ2_0', 256, 66, dequantiseTq2_0)],
  [39, blocks('MXFP4', 32, 17, dequantiseMxfp4)],
]);

/** Codes of known types that are not supported. */
const otherTypes: Readonly<Record<number, string>> = {
  4: 'Q4_2',
  5: 'Q4_3',
  9: 'Q8_1',
  15: 'Q8_K',
  16: 'IQ2_XXS',
  17: 'IQ2_XS',
  18: 'IQ3_XXS',
  19: 'IQ1_S',
  21: 'IQ3_S',
  22: 'IQ2_S',
  24: 'I8',
  25: 'I16',
  26: 'I32',
  27: 'I64',
  28: 'F64',
  29: 'IQ1_M',
  // Those of bitnet.cpp.
  36: 'I2_S',
  37: 'I8_S',
  38: 'TL1',
  40: 'NVFP4',
  41: 'Q1_0',
};

/**
 * The type with a code. For an unsupported type only the name is known: not its blocks, nor the length of
 * rows.
 */
export function ggmlTypeOf(code: number): GgmlType {
  const name = otherTypes[code] ?? `number ${code}`;
  const unread: GgmlType = {
    name,
    blockElements: 1,
    blockBytes: 0,
    dtype: 'other',
    dequantise: null,
  };
  return ggmlTypes.get(code) ?? unread;
}

export const ggmlTypeNames: readonly string[] = [...ggmlTypes.values()].map(({ name }) => name);
