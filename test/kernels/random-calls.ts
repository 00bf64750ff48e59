/**
 * Random calls of every kernel, to be made with different kernels on equal memories: whatever they
 * read lies below `out`, what they write above, scratch behind that.
 */

import { encodedDTypes, formatNames, formats } from '../../src/dtype.ts';
import { activationCodes } from '../../src/kernels/constants.ts';
import { attentionScratch, type Kernels } from '../../src/kernels/kernels.ts';
import { threadScratchBytes } from '../../src/kernels/threads/pool.ts';
import { neuronGroup, weightKernels } from '../../src/kernels/weight-kernels.ts';
import type { Random } from './support.ts';

const inputBytes = 1 << 20;
const outputBytes = 1 << 20;
export const scratchAddress = inputBytes + outputBytes;
export const bytesPerThread = threadScratchBytes({ cols: 300, context: 300 });
/** More than the two cores of a small machine can run at once. */
export const mostThreads = 5;
export const memoryBytes = scratchAddress + mostThreads * bytesPerThread;

/** Fills the input with finite numbers in every format, the rest with NaN. */
export function fill(memory: WebAssembly.Memory, random: Random): void {
  const pattern = Uint32Array.from({ length: 5003 }, () => {
    // Exponents 0x3c to 0x40 of both halves: small numbers as f16, bf16 and f32.
    const low = 0x3c00 + random.below(0x400) + random.below(2) * 0x8000;
    return (low | ((0x3c00 + random.below(0x400)) << 16) | (random.below(2) << 31)) >>> 0;
  });
  const words = new Uint32Array(memory.buffer);
  for (let at = 0; at < inputBytes / 4; at += pattern.length) words.set(pattern, at);
  words.fill(0xffffffff, inputBytes / 4);
}

/** One random call of a kernel, to be made with different kernels on equal memories. */
export type Call = (kernels: Kernels, memory: WebAssembly.Memory) => unknown;
export type MakeCall = (random: Random) => Call;

const inputs = 65536;
export const [a, b, c, e] = [1, 2, 3, 5].map((i) => i * inputs) as [number, number, number, number];
/** Behind everything else that is read. */
const rowsAddress = 12 * inputs;
export const out = inputBytes;
const out2 = inputBytes + outputBytes / 2;
/** Small counts, and larger ones, at random. */
const size = (random: Random, most: number) => random.below(random.below(3) === 0 ? 4 : most + 1);
const oneOf = (random: Random, ...values: number[]) => values[random.below(values.length)] ?? 0;

function addresses(memory: WebAssembly.Memory, at: number, count: number, bytes: number): void {
  const list = new Uint32Array(memory.buffer, at, count);
  for (let i = 0; i < count; i++) list[i] = c + bytes * ((i * 7) % Math.max(1, count));
}

/** Activations at `a`, of which half are 0. */
function halfActive(memory: WebAssembly.Memory, n: number): void {
  const acts = new Float32Array(memory.buffer, a, n);
  for (let i = 0; i < n; i += 2) acts[i] = 0;
}

/** Some ascending places in a list where groups end, the last one perhaps its end. */
function groupEnds(random: Random, count: number): number[] {
  return Array.from({ length: count }, (_, i) => i + 1).filter(() => random.below(40) === 0);
}

export const calls: [string, MakeCall][] = [
  ...formatNames
    .map((name) => formats[name])
    .flatMap((format): [string, MakeCall][] => [
      [
        `matmul ${format.name}`,
        (random) => {
          const [rows, cols, positions] = [
            size(random, 70),
            1 + size(random, 200),
            1 + size(random, 20),
          ];
          const bias = oneOf(random, 0, b);
          const own = format.quantised ? scratchAddress : oneOf(random, 0, scratchAddress);
          return (kernels) =>
            weightKernels(kernels, format).matmul(
              out,
              a,
              c,
              bias,
              rows,
              cols,
              positions,
              cols + 1,
              rows + 3,
              own,
            );
        },
      ],
      [
        `ffn up ${format.name}`,
        (random) => {
          const [count, cols, positions] = [
            size(random, 70),
            1 + size(random, 200),
            1 + size(random, 20),
          ];
          const bias = oneOf(random, 0, b);
          const own = format.quantised ? scratchAddress : oneOf(random, 0, scratchAddress);
          const { silu } = activationCodes;
          return (kernels, memory) => {
            addresses(memory, e, count, 4 * cols);
            weightKernels(kernels, format).ffnUp(
              out,
              a,
              e,
              bias,
              count,
              cols,
              positions,
              cols,
              count + 1,
              silu,
              own,
            );
          };
        },
      ],
      [
        `gated ffn up ${format.name}`,
        (random) => {
          const [count, cols, positions] = [
            size(random, 70),
            1 + size(random, 200),
            1 + size(random, 20),
          ];
          const own = format.quantised ? scratchAddress : oneOf(random, 0, scratchAddress);
          const [gateBias, upBias] = [oneOf(random, 0, b), oneOf(random, 0, c)];
          const stride = count + 1;
          // With zeros for nothing, for half of the gates, and for most of them.
          const { gelu_tanh, relu, fatrelu } = activationCodes;
          const code = [gelu_tanh, relu, fatrelu][random.below(3)] ?? relu;
          return (kernels, memory) => {
            addresses(memory, e, count, 4 * cols);
            weightKernels(kernels, format).ffnGatedUp(
              out,
              out2,
              a,
              e,
              64,
              gateBias,
              upBias,
              count,
              cols,
              positions,
              cols,
              stride,
              code,
              activationCodes.relu,
              own,
              cols,
            );
          };
        },
      ],
      [
        `ffn down ${format.name}`,
        (random) => {
          const [count, cols, positions] = [
            size(random, 200),
            1 + size(random, 300),
            1 + size(random, 20),
          ];
          const [from, first] = [random.below(cols), random.below(150)];
          const own = oneOf(random, 0, scratchAddress);
          return (kernels, memory) => {
            addresses(memory, e, count, 4 * cols);
            new Float32Array(memory.buffer, out, positions * cols).fill(0.5);
            new Float32Array(memory.buffer, out2, positions * cols).fill(0.25);
            halfActive(memory, positions * count);
            weightKernels(kernels, format).ffnDown(
              out,
              out2,
              a,
              e,
              16,
              first,
              count,
              from,
              cols,
              positions,
              cols,
              count,
              own,
            );
          };
        },
      ],
      [
        `ffn sums ${format.name}`,
        (random) => {
          const [count, cols, first] = [
            1 + size(random, 400),
            1 + size(random, 250),
            random.below(150),
          ];
          const begin = Math.floor(first / neuronGroup);
          const end = Math.ceil((first + count) / neuronGroup);
          return (kernels, memory) => {
            addresses(memory, e, count, 4 * cols);
            new Float32Array(memory.buffer, out, cols).fill(0.25);
            new Float32Array(memory.buffer, out2, cols).fill(0.5);
            halfActive(memory, count);
            weightKernels(kernels, format).ffnSums(out, a, e, 16, first, count, cols, begin, end);
            kernels.fold(out2, out, end - begin, cols, cols);
          };
        },
      ],
      [
        `ffn list sums ${format.name}`,
        (random) => {
          const [count, cols, continued] = [
            1 + size(random, 400),
            1 + size(random, 250),
            random.below(2),
          ];
          const ends = groupEnds(random, count);
          return (kernels, memory) => {
            addresses(memory, e, count, 4 * cols);
            new Float32Array(memory.buffer, out, cols).fill(0.25);
            halfActive(memory, count);
            new Uint32Array(memory.buffer, b, ends.length).set(ends);
            weightKernels(kernels, format).ffnListSums(
              out,
              a,
              e,
              16,
              b,
              ends.length,
              count,
              cols,
              continued === 1 ? 1 : 0,
              0,
              ends.length + 1,
            );
          };
        },
      ],
      [
        `ffn list down ${format.name}`,
        (random) => {
          const [count, cols] = [1 + size(random, 100), 1 + size(random, 250)];
          const positions = 1 + size(random, 8);
          const ends = groupEnds(random, count);
          const own = oneOf(random, 0, scratchAddress);
          return (kernels, memory) => {
            addresses(memory, e, count, 4 * cols);
            new Float32Array(memory.buffer, out, cols * positions).fill(0.25);
            new Float32Array(memory.buffer, out2, cols * positions).fill(0.5);
            halfActive(memory, count * positions);
            new Uint32Array(memory.buffer, b, ends.length).set(ends);
            weightKernels(kernels, format).ffnListDown(
              out,
              out2,
              a,
              e,
              16,
              b,
              ends.length,
              count,
              0,
              cols,
              positions,
              cols,
              count,
              own,
            );
          };
        },
      ],
    ]),
  ...encodedDTypes.flatMap((dtype): [string, MakeCall][] => [
    [
      `to and from f32 ${dtype}`,
      (random) => {
        const n = size(random, 2000);
        return ({ byDType }) => {
          byDType[dtype].toF32(out, a, n);
          byDType[dtype].fromF32(out2, a, n);
        };
      },
    ],
    [
      `first non-finite ${dtype}`,
      (random) => {
        const n = 1 + size(random, 2000);
        const bad = [random.below(2 * n), random.below(2 * n)];
        return ({ byDType }, memory) => {
          for (const index of bad) {
            // All ones, from a multiple of four bytes on.
            new Uint32Array(memory.buffer, b, 2 * n)[index] = 0xffffffff;
          }
          return byDType[dtype].firstNonFinite(b, n);
        };
      },
    ],
  ]),
  [
    'packing',
    (random) => {
      const [units, rows, cols] = [size(random, 70), 1 + random.below(3), 1 + size(random, 200)];
      const unitBytes = 2 * cols * rows + 2 * random.below(9);
      const large = random.below(units * unitBytes + 1);
      return ({ packedF16, copyRows }, memory) => {
        copyRows(out, c, units, unitBytes, unitBytes, unitBytes);
        packedF16.pack(out, units, unitBytes, rows, cols);
        packedF16.toF32(out2, out, cols);
        new Uint16Array(memory.buffer, c, units * unitBytes + 1)[large] = 0x5400;
        return packedF16.packable(c, (units * unitBytes) / 2);
      };
    },
  ],
  ...(['attention', 'attentionF16'] as const).map((cache): [string, MakeCall] => [
    cache,
    (random) => {
      const [kvHeads, group, headDim] = [
        1 + random.below(7),
        1 + random.below(3),
        1 + random.below(20),
      ];
      const [start, positions] = [random.below(60), 1 + random.below(20)];
      const [kvWidth, width] = [kvHeads * headDim, kvHeads * group * headDim];
      const first = random.below(kvHeads * group);
      const window = oneOf(random, 1000, 1 + random.below(60));
      const bias = oneOf(random, 0, e);
      const pages = Array.from({ length: 5 }, () => random.below(5));
      return (kernels, memory) => {
        const table = new Uint32Array(memory.buffer, rowsAddress, pages.length + 2 * positions);
        table.set(pages);
        for (let p = 0; p < positions; p++) {
          table.set([rowsAddress, start + p], pages.length + 2 * p);
        }
        kernels[cache](
          out,
          a,
          rowsAddress + 4 * pages.length,
          b,
          c,
          scratchAddress,
          first,
          kvHeads * group,
          group,
          headDim,
          kvWidth,
          width,
          width,
          start + positions,
          positions,
          0.1,
          window,
          bias,
          start + positions,
        );
        new Uint8Array(memory.buffer, scratchAddress, 4 * attentionScratch(start + positions)).fill(
          0xff,
        );
      };
    },
  ]),
  ...(['rotaryHalves', 'rotaryNeighbours'] as const).map((style): [string, MakeCall] => [
    style,
    (random) => {
      const [heads, pairs, positions] = [
        1 + random.below(6),
        1 + random.below(12),
        size(random, 40),
      ];
      const headDim = 2 * pairs + random.below(4);
      const stride = heads * headDim + random.below(4);
      return ({ copyRows, [style]: rotary }) => {
        copyRows(out, a, 1, 4 * positions * stride, 0, 0);
        rotary(out, b, c, heads, headDim, pairs, positions, stride);
      };
    },
  ]),
  [
    'norms',
    (random) => {
      const [n, positions] = [1 + size(random, 200), size(random, 20)];
      return ({ layerNorm, rmsNorm }) => {
        layerNorm(out, a, b, c, n, positions, n + 1, n + 2, 1e-5);
        rmsNorm(out2, a, 0, n, positions, n + 2, n, 1e-5);
        rmsNorm(a, a, b, n, positions, n, n, 1e-6);
      };
    },
  ],
  [
    'elementwise kernels',
    (random) => {
      const n = size(random, 3000);
      return ({ add, multiply, clamp, scale, activation, copyRows }) => {
        copyRows(out, a, 1, 4 * n, 0, 0);
        add(out, b, n);
        multiply(out, c, n);
        clamp(out, n, 2 ** -6);
        scale(out, n, 1.5);
        activation(out, n, activationCodes.gelu);
      };
    },
  ],
  [
    'copies and transpositions',
    (random) => {
      const [rows, cols] = [size(random, 90), size(random, 90)];
      return ({ copyRows, transpose16, transpose32 }) => {
        copyRows(out, a, rows, 4 * cols + 2, 4 * cols, 4 * cols + 6);
        transpose16(out2, b, rows, cols, 2 * cols + 2, 2 * rows + 4);
        transpose32(out2 + outputBytes / 4, c, rows, cols, 4 * cols, 4 * rows + 8);
      };
    },
  ],
  [
    'sum of what is read',
    (random) => {
      const bytes = 256 * size(random, 100);
      return ({ readSum }) => readSum(a, bytes);
    },
  ],
];
