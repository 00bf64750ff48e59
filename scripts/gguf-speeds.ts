/** What scripts/bench-kernels.ts measures of the block formats of GGUF files. */

import { formats, ggufDTypes, inFours, packedFormat } from '../src/dtype.ts';
import type { Kernels } from '../src/kernels/kernels.ts';

/** Where things are; addresses are in `memory`. */
interface GgufBench {
  readonly memory: WebAssembly.Memory;
  readonly weights: number;
  readonly weightBytes: number;
  /** (64, cols) activations, and room for (64, rows of a call) results. */
  readonly x: number;
  readonly y: number;
  readonly rowsPerCall: number;
  /** A multiple of 256. */
  readonly cols: number;
  /** Of `scratchBytes(cols)`. */
  readonly scratch: number;
  /** Of `quantisedBytes(cols, 64)`. */
  readonly quantised: number;
}

interface Measurement {
  readonly kernel: string;
  readonly bytes: number;
  readonly flops: number;
  readonly run: (kernels: Kernels) => void;
}

/** Fills the weights with bytes that are small normal numbers in whatever format they are read. */
export function fillGgufWeights({ memory, weights, weightBytes }: GgufBench): void {
  const patternBytes = 2 ** 20;
  const bytes = new Uint8Array(memory.buffer, weights, weightBytes);
  for (let i = 0; i < patternBytes; i++) bytes[i] = 32 + Math.floor(32 * Math.random());
  for (let at = patternBytes; at < weightBytes; at += patternBytes) {
    bytes.copyWithin(at, 0, Math.min(patternBytes, weightBytes - at));
  }
}

export function ggufMeasurements(bench: GgufBench): readonly Measurement[] {
  const { weights, weightBytes, x, y, rowsPerCall, cols, scratch, quantised } = bench;
  return ggufDTypes.flatMap((dtype) => {
    const rowBytes = formats[dtype].rowBytes(cols);
    const rows = Math.floor(weightBytes / rowBytes);
    const bytes = rows * rowBytes;
    const one: Measurement = {
      kernel: `${dtype} matmul, 1 position`,
      bytes,
      flops: 2 * rows * cols,
      run: ({ byDType }) => {
        for (let row = 0; row < rows; row += rowsPerCall) {
          const part = Math.min(rowsPerCall, rows - row);
          const w = weights + row * rowBytes;
          byDType[dtype].matmul(y, x, w, 0, part, cols, 1, cols, part, scratch);
        }
      },
    };
    const several = [2, 4, 8, 16, 64].map((positions): Measurement => {
      const all = rowsFor(positions);
      return {
        kernel: `${dtype} matmul, ${positions} positions`,
        bytes: all * rowBytes,
        flops: 2 * all * cols * positions,
        run: ({ byDType }) => {
          for (let row = 0; row < all; row += rowsPerCall) {
            const part = Math.min(rowsPerCall, all - row);
            const shape = [part, cols, positions, cols, part] as const;
            byDType[dtype].matmul(y, x, weights + row * rowBytes, 0, ...shape, scratch);
          }
        },
      };
    });
    const few = Math.min(rows, rowsPerCall);
    const exact: Measurement = {
      kernel: `${dtype} exact matmul, 1 position`,
      bytes: few * rowBytes,
      flops: 2 * few * cols,
      run: ({ byDType }) =>
        byDType[dtype].exactMatmul(y, x, weights, 0, few, cols, 1, cols, few, scratch),
    };
    return [one, ...several, ...packedProducts(), exact];

    /** Products of packed rows with input that was already quantised, and the time to quantise it. */
    function packedProducts(): readonly Measurement[] {
      const packed = packedFormat(formats[dtype]);
      if (!inFours(packed)) return [];
      const { name } = packed;
      const positions = 64;
      return [
        {
          kernel: `${dtype} quantise, ${positions} positions`,
          bytes: 4 * cols * positions,
          flops: 0,
          run: ({ fours }) => fours[name].quantise(quantised, x, cols, positions, cols),
        },
        ...[1, 2, 4, 8, 16, 64].map((positions): Measurement => {
          const all = 4 * Math.floor(rowsFor(positions) / 4);
          return {
            kernel: `${dtype} packed matmul quantised before, positions: ${positions}`,
            bytes: all * rowBytes,
            flops: 2 * all * cols * positions,
            run: ({ fours }) => {
              for (let row = 0; row < all; row += rowsPerCall) {
                const part = Math.min(rowsPerCall, all - row);
                const shape = [part, cols, positions, cols, part] as const;
                const w = weights + row * rowBytes;
                fours[name].matmul(y, quantised, w, 0, ...shape, scratch, 1);
              }
            },
          };
        }),
      ];
    }

    /** All rows for few positions, since memory is what limits those; for many, those of half a call. */
    function rowsFor(positions: number): number {
      return positions > 16 ? Math.min(rows, rowsPerCall / 2) : rows;
    }
  });
}
