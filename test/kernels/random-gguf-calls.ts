/** Random calls of the kernels for block formats of GGUF files, whose rows are whole blocks. */

import {
  type EncodedDType,
  type Format,
  type FoursFormat,
  formats,
  ggufDTypes,
  inFours,
  isEncodedDType,
} from '../../src/dtype.ts';
import { a, b, c, type MakeCall, oneOf, out, out2, scratchAddress, size } from './random-memory.ts';
import type { Random } from './support.ts';

/** Columns for which there is scratch. */
const mostColumns = 300;

/** Tiles of so many rows each, some of whose rows are made. */
const tiled = (random: Random, rowBytes: number) => {
  const [tiles, perTile] = [1 + random.below(4), 4 * (1 + random.below(8))];
  const rowStart = 4 * random.below((tiles * perTile) / 4);
  return { tiles, perTile, rowStart, tileBytes: perTile * rowBytes + 4 * random.below(9) };
};

const ofFiles: [string, MakeCall][] = ggufDTypes.flatMap((dtype): [string, MakeCall][] => {
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
    [
      `tiles of ${dtype}`,
      (random) => {
        const { cols, positions } = shape(random);
        const rowBytes = formats[dtype].rowBytes(cols);
        const { tiles, perTile, rowStart, tileBytes } = tiled(random, rowBytes);
        const all = tiles * perTile;
        const wide = tiles * cols;
        return ({ byDType }) => {
          const { tileRows, tileSums } = byDType[dtype];
          const range = [tileBytes, perTile, rowBytes, rowStart, all] as const;
          tileRows(out, a, c, ...range, cols, positions, cols, all, scratchAddress);
          const own = [tileBytes, tiles, rowBytes, rowStart % perTile, perTile] as const;
          tileSums(out2, out, a, c, ...own, cols, positions, wide, perTile, scratchAddress);
        };
      },
    ],
    ...(isEncodedDType(dtype) ? [fromF32(dtype, wholeBlocks)] : []),
  ];
});

const packed: [string, MakeCall][] = ggufDTypes.flatMap((dtype): [string, MakeCall][] => {
  const { packedAs, blockElements, rowBytes } = formats[dtype];
  if (packedAs === null || !inFours(formats[packedAs])) return [];
  const { name } = formats[packedAs] as Format<FoursFormat>;
  return [
    [
      `packed rows of ${dtype}`,
      (random) => {
        const cols = blockElements * (1 + random.below(Math.floor(mostColumns / blockElements)));
        const rows = 4 * (1 + random.below(40));
        const positions = 1 + random.below(5);
        const row = random.below(4);
        const { tiles, perTile, rowStart, tileBytes } = tiled(random, rowBytes(cols));
        const all = tiles * perTile;
        return ({ fours }) => {
          const { packRows, unpackRow, quantise, matmul, tileRows, tileSums } = fours[name];
          packRows(c, rows, cols, scratchAddress);
          unpackRow(out2, c, row, cols);
          matmul(out, a, c, b, rows, cols, positions, cols, rows, scratchAddress);
          const range = [tileBytes, perTile, rowBytes(cols), rowStart, all] as const;
          tileRows(out2, a, c, ...range, cols, 1, cols, all, scratchAddress);
          const own = [tileBytes, tiles, rowBytes(cols), rowStart % perTile, perTile] as const;
          tileSums(out, out2, a, c, ...own, cols, 1, cols, perTile, scratchAddress);
          quantise(out2, a, cols, positions, cols);
          const shape = [rows, cols, positions, cols, rows] as const;
          matmul(out, out2, c, b, ...shape, scratchAddress, 1);
        };
      },
    ],
  ];
});

export const ggufCalls: readonly [string, MakeCall][] = [...ofFiles, ...packed];

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
