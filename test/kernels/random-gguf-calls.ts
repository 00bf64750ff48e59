/** Random calls of the kernels for block formats of GGUF files, whose rows are whole blocks. */

import { type EncodedDType, formats, ggufDTypes, isEncodedDType } from '../../src/dtype.ts';
import { a, b, c, type MakeCall, oneOf, out, out2, scratchAddress, size } from './random-memory.ts';
import type { Random } from './support.ts';

/** Columns for which there is scratch. */
const mostColumns = 300;

export const ggufCalls: [string, MakeCall][] = ggufDTypes.flatMap((dtype): [string, MakeCall][] => {
  const { blockElements } = formats[dtype];
  const wholeBlocks = (random: Random, most: number) =>
    blockElements * (1 + random.below(Math.floor(most / blockElements)));
  const shape = (random: Random) => ({
    rows: size(random, 70),
    cols: wholeBlocks(random, mostColumns),
    positions: 1 + size(random, 40),
  });
  return [
    [
      `matmul ${dtype}`,
      (random) => {
        const { rows, cols, positions } = shape(random);
        const bias = oneOf(random, 0, b);
        const y = rows + 3;
        return ({ byDType }) =>
          byDType[dtype].matmul(out, a, c, bias, rows, cols, positions, cols, y, scratchAddress);
      },
    ],
    [
      `exact matmul ${dtype}`,
      (random) => {
        const { rows, cols, positions } = shape(random);
        const bias = oneOf(random, 0, b);
        return ({ byDType }) =>
          byDType[dtype].exactMatmul(
            out,
            a,
            c,
            bias,
            rows,
            cols,
            positions,
            cols,
            rows,
            scratchAddress,
          );
      },
    ],
    [
      `to f32 ${dtype}`,
      (random) => {
        const n = wholeBlocks(random, 4000);
        const bad = random.below(n);
        return ({ byDType }, memory) => {
          byDType[dtype].toF32(out2, a, n);
          new Uint8Array(memory.buffer, b + bad, 4).fill(0xff);
          return byDType[dtype].firstNonFinite(b, n);
        };
      },
    ],
    ...(isEncodedDType(dtype) ? [fromF32(dtype, wholeBlocks)] : []),
  ];
});

function fromF32(
  dtype: EncodedDType,
  wholeBlocks: (random: Random, most: number) => number,
): [string, MakeCall] {
  return [
    `from f32 ${dtype}`,
    (random) => {
      const n = wholeBlocks(random, 2000);
      return ({ byDType }) => byDType[dtype].fromF32(out2, a, n);
    },
  ];
}
