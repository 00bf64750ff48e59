import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import { InputError } from '../../src/errors.ts';
import { chooseBuild, runsBuild } from '../../src/kernels/module.ts';

const before = process.env.FLASHLLM_CORE;

afterEach(() => {
  if (before === undefined) delete process.env.FLASHLLM_CORE;
  else process.env.FLASHLLM_CORE = before;
});

test('every Node that is supported runs both builds', () => {
  assert.ok(runsBuild('plain'));
  assert.ok(runsBuild('relaxed'));
});

test('the faster build that runs is chosen, or the one that is named', () => {
  delete process.env.FLASHLLM_CORE;
  assert.equal(chooseBuild(), runsBuild('relaxed') ? 'relaxed' : 'plain');
  process.env.FLASHLLM_CORE = '';
  assert.equal(chooseBuild(), runsBuild('relaxed') ? 'relaxed' : 'plain');
  process.env.FLASHLLM_CORE = 'plain';
  assert.equal(chooseBuild(), 'plain');
});

test('a build that there is not, or that does not run, is refused', () => {
  process.env.FLASHLLM_CORE = 'fast';
  assert.throws(chooseBuild, new InputError("FLASHLLM_CORE is 'fast', not plain or relaxed"));
  if (runsBuild('relaxed')) return;
  process.env.FLASHLLM_CORE = 'relaxed';
  assert.throws(chooseBuild, /does not run the relaxed build/);
});
