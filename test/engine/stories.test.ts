/** The bundled model against an independent implementation, at several budgets. */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, test } from 'node:test';
import type { RunRequest } from '../../src/engine/run-request.ts';
import { references, storiesOpt } from '../support/fixtures.ts';
import { temporaryRoot } from '../support/temporary.ts';
import { converted, readFloats, relativeError, withSequence } from './support.ts';

const root = temporaryRoot();
let model = '';
before(async () => {
  model = await converted(root, storiesOpt);
});

interface Prompt {
  readonly name: string;
  readonly ids: number[];
}
interface LogitsIndex {
  readonly entries: {
    readonly prompt: string;
    readonly position: number;
    readonly offset: number;
  }[];
}

function readReference<T>(name: string): T {
  return JSON.parse(readFileSync(join(references, name), 'utf8')) as T;
}

const { prompts } = readReference<{ prompts: Prompt[] }>('prompts.json');
const { entries } = readReference<LogitsIndex>('logits.index.json');
const vocabSize = 2048;

test('full logits agree with the reference at every stored position', async () => {
  const expected = readFloats(join(references, 'logits.f32'));
  const request = { context: 256, logits: 'all' } as const;
  await withSequence(model, 64 * 2 ** 20, request, async (sequence) => {
    for (const { name, ids } of prompts) {
      const logits = await sequence.logits(ids);
      for (const { position, offset } of entries.filter(({ prompt }) => prompt === name)) {
        const error = relativeError(
          logits.subarray(position * vocabSize, (position + 1) * vocabSize),
          expected.subarray(offset, offset + vocabSize),
        );
        assert.ok(error <= 1e-5, `${name}, position ${position}: relative error ${error}`);
      }
    }
  });
});

test('logits are the same to the bit, whatever the budget', async () => {
  const ids = prompts.find(({ name }) => name === 'long')?.ids ?? [];
  const run = (weightBytes: number) =>
    withSequence(
      model,
      weightBytes,
      { context: 256, logits: 'all', chunk: 8 },
      async (sequence) => {
        const logits = await sequence.logits(ids);
        return {
          logits,
          streamed: sequence.runtime.plan.streamedBytes,
          chunk: sequence.runtime.plan.chunk,
        };
      },
    );
  const whole = await run(64 * 2 ** 20);
  assert.equal(whole.streamed, 0);
  const streamed = new Set<number>();
  for (const mebibytes of [2.7, 3, 3.3, 3.6, 4, 4.5]) {
    const part = await run(mebibytes * 2 ** 20);
    assert.deepEqual(part.logits, whole.logits, `${mebibytes} MiB`);
    streamed.add(part.streamed);
  }
  assert.ok(streamed.size >= 5, `budgets differ in what they stream: ${[...streamed].join(' ')}`);
});

test('logits are the same to the bit in several memories and on several threads', async () => {
  const ids = prompts.find(({ name }) => name === 'long')?.ids ?? [];
  const run = (request: Partial<RunRequest>, weightBytes = 64 * 2 ** 20) =>
    withSequence(
      model,
      weightBytes,
      { context: 256, logits: 'all', ...request },
      async (sequence) => ({
        logits: await sequence.logits(ids),
        arenas: sequence.runtime.plan.arenas.length,
        streamed: sequence.runtime.plan.streamedBytes,
      }),
    );
  const plain = await run({ threads: 1 });
  assert.equal(plain.arenas, 0);
  const memoryLimit = 4 * 2 ** 20;
  for (const threads of [1, 2, 3]) {
    assert.deepEqual((await run({ threads })).logits, plain.logits, `${threads} threads`);
  }
  // The first memory has room for the ring and a little; the rest of the weights lies elsewhere.
  const split = await run({ threads: 1, memoryLimit, chunk: 16 });
  assert.ok(split.arenas > 0, 'more than one memory');
  assert.equal(split.streamed, 0);
  assert.deepEqual(split.logits, plain.logits);
  const threaded = await run({ threads: 2, memoryLimit, chunk: 16 });
  assert.deepEqual(threaded.logits, plain.logits);
});

test('a sequence can be taken back and continued', async () => {
  const ids = prompts.find(({ name }) => name === 'valid_doc')?.ids ?? [];
  await withSequence(model, 64 * 2 ** 20, { context: 64 }, async (sequence) => {
    const straight = (await sequence.forward(ids)).slice();
    sequence.rewind(10);
    assert.equal(sequence.length, 10);
    await sequence.forward(ids.slice(10, 20));
    sequence.rewind(10);
    assert.deepEqual(await sequence.forward(ids.slice(10)), straight);
  });
});

test('FFN activations are as sparse as the reference counted them', async () => {
  const { ids, sparsity_per_layer: layers } = readReference<{
    ids: number[];
    sparsity_per_layer: number[];
  }>('active_bitmap.json');
  const expected = layers.reduce((sum, value) => sum + value, 0) / layers.length;
  await withSequence(model, 64 * 2 ** 20, { context: 128 }, async (sequence) => {
    const run = sequence.runtime.stats.begin();
    await sequence.forward(ids, 'none');
    const { ffnSparsity } = run.snapshot(ids.length, 0);
    assert.ok(Math.abs(ffnSparsity - expected) < 1e-4, `${ffnSparsity}, not ${expected}`);
  });
});
