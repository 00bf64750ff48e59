/** Random calls of every kernel, to be made with different kernels on equal memories. */

import { callAttention } from '../../src/kernels/attention.ts';
import { activationCodes } from '../../src/kernels/constants.ts';
import { attentionScratch } from '../../src/kernels/kernels.ts';
import { formatCalls } from './random-format-calls.ts';
import { ggufCalls } from './random-gguf-calls.ts';
import {
  a,
  b,
  c,
  e,
  type MakeCall,
  oneOf,
  out,
  out2,
  outputBytes,
  rowsAddress,
  scratchAddress,
  size,
} from './random-memory.ts';

export const calls: [string, MakeCall][] = [
  ...formatCalls,
  ...ggufCalls,
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
      const [softCap, sinks] = [oneOf(random, 0, 5), oneOf(random, 0, e)];
      const pages = Array.from({ length: 5 }, () => random.below(5));
      return (kernels, memory) => {
        const table = new Uint32Array(memory.buffer, rowsAddress, pages.length + 2 * positions);
        table.set(pages);
        for (let p = 0; p < positions; p++) {
          table.set([rowsAddress, start + p], pages.length + 2 * p);
        }
        callAttention(kernels[cache], {
          out,
          q: a,
          rows: rowsAddress + 4 * pages.length,
          keys: b,
          values: c,
          scores: scratchAddress,
          headStart: first,
          headEnd: kvHeads * group,
          group,
          headDim,
          kvStride: kvWidth,
          qStride: width,
          outStride: width,
          length: start + positions,
          positions,
          scale: 0.1,
          window,
          bias,
          biasStride: start + positions,
          biasScale: 0.1,
          softCap,
          sinks,
        });
        new Uint8Array(memory.buffer, scratchAddress, 4 * attentionScratch(start + positions)).fill(
          0xff,
        );
      };
    },
  ]),
  ...(['rotaryHalves', 'rotaryInterleaved'] as const).map((style): [string, MakeCall] => [
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
      return ({ layerNorm, rmsNorm, roundRows }) => {
        layerNorm(out, a, b, c, n, positions, n + 1, n + 2, 1e-5);
        rmsNorm(out2, a, 0, n, positions, n + 2, n, 1e-5);
        rmsNorm(a, a, b, n, positions, n, n, 1e-6);
        roundRows(out, n, positions, n + 2);
      };
    },
  ],
  [
    'elementwise kernels',
    (random) => {
      const n = size(random, 3000);
      return ({ add, multiply, clamp, clampedGate, scale, activation, copyRows }) => {
        copyRows(out, a, 1, 4 * n, 0, 0);
        add(out, b, n);
        multiply(out, c, n);
        clampedGate(out, b, n, 2 ** -7, 1.7);
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
    'rows that take experts',
    (random) => {
      const [positions, each, n] = [
        1 + size(random, 40),
        1 + random.below(4),
        1 + size(random, 60),
      ];
      const bias = oneOf(random, 0, c);
      const rows = Array.from({ length: positions * each }, () => random.below(positions));
      const taken = rows.map((row) => [oneOf(random, row, 0xffffffff), random.below(5)] as const);
      return ({ gatherRows, addChoices }, memory) => {
        new Uint32Array(memory.buffer, rowsAddress, rows.length).set(rows);
        gatherRows(out, a, rowsAddress, positions, n);
        const words = new Uint32Array(memory.buffer, rowsAddress, 3 * taken.length);
        const weights = new Float32Array(memory.buffer, rowsAddress, words.length);
        for (const [i, choice] of taken.entries()) {
          words.set(choice, 3 * i);
          weights[3 * i + 2] = i + 0.5;
        }
        addChoices(out, b, bias, rowsAddress, positions, each, n);
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
