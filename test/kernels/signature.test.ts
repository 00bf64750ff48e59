/** What TypeScript makes of a signature; wrong calls and wrong names are errors of its own. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { activationCodes } from '../../src/kernels/constants.ts';
import { type KernelOf, parametersOf, type Signature } from '../../src/kernels/signature.ts';
import type { SplitOf } from '../../src/kernels/threads/split.ts';

const signature = {
  parameters: ['x: address', 'n: i32', 'code: activation', 'step?: size', 'limit?: f32'],
  result: 'i32',
} as const satisfies Signature;

test('parameters have the names and types of the core', () => {
  assert.deepEqual(parametersOf(signature), [
    { name: 'x', type: 'usize' },
    { name: 'n', type: 'i32' },
    { name: 'code', type: 'i32' },
    { name: 'step', type: 'usize' },
    { name: 'limit', type: 'f32' },
  ]);
});

test('calls that do not fit a signature do not compile', () => {
  const kernel: KernelOf<typeof signature> = (...values) => values.length;
  const { relu } = activationCodes;
  const three: number = kernel(0, 1, relu);
  assert.equal(three, 3);
  assert.equal(kernel(0, 1, relu, undefined, 2), 5);
  // @ts-expect-error: code must be given
  kernel(0, 1);
  // @ts-expect-error: there is no activation of this code
  kernel(0, 1, 7);
  // @ts-expect-error: too many
  kernel(0, 1, relu, 2, 3, 4);
});

test('splits by names that a signature does not have do not compile', () => {
  const row: SplitOf<typeof signature> = {
    over: 'n',
    granule: 1,
    moves: { x: (a) => a.n },
    work: (a) => a.limit,
  };
  // @ts-expect-error: no parameter has this name
  const over: SplitOf<typeof signature> = { ...row, over: 'rows' };
  // @ts-expect-error: nor this
  const moves: SplitOf<typeof signature> = { ...row, moves: { y: 4 } };
  // @ts-expect-error: nor this
  const work: SplitOf<typeof signature> = { ...row, work: (a) => a.cols };
  assert.equal(new Set([row, over, moves, work]).size, 4);
});
