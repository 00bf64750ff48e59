/** Random calls of the kernels that exist once per format of weights. */

import { formatNames, formats, neuronDTypes } from '../../src/dtype.ts';
import { activationCodes } from '../../src/kernels/constants.ts';
import { neuronGroup, neuronKernels } from '../../src/kernels/weight-kernels.ts';
import {
  a,
  b,
  c,
  e,
  type MakeCall,
  oneOf,
  out,
  out2,
  scratchAddress,
  size,
} from './random-memory.ts';
import type { Random } from './support.ts';

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

export const formatCalls: [string, MakeCall][] = [
  ...formatNames
    .map((name) => formats[name])
    .filter((format) => format.neurons)
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
            neuronKernels(kernels, format).matmul(
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
            neuronKernels(kernels, format).ffnUp(
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
            neuronKernels(kernels, format).ffnGatedUp(
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
            neuronKernels(kernels, format).ffnDown(
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
          const positions = 1 + random.below(6);
          const begin = Math.floor(first / neuronGroup);
          const end = Math.ceil((first + count) / neuronGroup);
          const own = oneOf(random, 0, scratchAddress);
          return (kernels, memory) => {
            addresses(memory, e, count, 4 * cols);
            new Float32Array(memory.buffer, out, positions * cols).fill(0.25);
            new Float32Array(memory.buffer, out2, positions * cols).fill(0.5);
            halfActive(memory, positions * count);
            const list = [out, a, e, 16, first, count] as const;
            const { ffnSums } = neuronKernels(kernels, format);
            ffnSums(...list, cols, positions, count, begin, end, own);
            kernels.fold(out2, out, end - begin, positions * cols, positions * cols);
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
            neuronKernels(kernels, format).ffnListSums(
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
            neuronKernels(kernels, format).ffnListDown(
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
  ...neuronDTypes.flatMap((dtype): [string, MakeCall][] => [
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
];
