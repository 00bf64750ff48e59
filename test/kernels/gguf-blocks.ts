/** Random blocks in the formats of GGUF files, and what they are worth. */

import { ggmlTypes } from '../../src/checkpoint/gguf/ggml-types.ts';
import { type DType, formats, type GgufDType, ggufDTypes } from '../../src/dtype.ts';
import { toF16 } from '../support/dtypes.ts';
import type { Random } from './support.ts';

/** Where blocks have f16 numbers; those of mxfp4 begin with an exponent. */
export const halvesAt: Readonly<Record<GgufDType, readonly number[]>> = {
  q4_0: [0],
  q4_1: [0, 2],
  q5_0: [0],
  q5_1: [0, 2],
  q8_0: [0],
  iq4_nl: [0],
  iq4_xs: [0],
  mxfp4: [],
  q2_k: [80, 82],
  q3_k: [108],
  q4_k: [0, 2],
  q5_k: [0, 2],
  q6_k: [208],
};

export function isGguf(dtype: DType): dtype is GgufDType {
  return ggufDTypes.some((name) => name === dtype);
}

/** Fills a row of n weights, of whole blocks. @returns what the reader of GGUF files makes of it */
export function fillGguf(bytes: Uint8Array, dtype: GgufDType, n: number, random: Random): number[] {
  const { blockBytes, blockElements } = formats[dtype];
  for (let i = 0; i < bytes.length; i++) bytes[i] = random.below(256);
  for (let at = 0; at < bytes.length; at += blockBytes) {
    for (const half of halvesAt[dtype]) {
      const bits = toF16(random.value() * 2 ** (random.below(3) - 9));
      bytes[at + half] = bits & 255;
      bytes[at + half + 1] = bits >> 8;
    }
    if (dtype === 'mxfp4') bytes[at] = 110 + random.below(20);
  }
  return ggufValues(bytes, dtype, n / blockElements);
}

/** The weights of `blocks` blocks. */
function ggufValues(bytes: Uint8Array, dtype: GgufDType, blocks: number): number[] {
  const type = [...ggmlTypes.values()].find(({ name }) => name.toLowerCase() === dtype);
  const values = new Float32Array(blocks * formats[dtype].blockElements);
  type?.dequantise?.(bytes, 0, blocks, values, 0);
  return [...values];
}
