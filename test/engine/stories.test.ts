/** The bundled model against an independent implementation, at several budgets. */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, test } from 'node:test';
import type { RunRequest } from '../../src/engine/model.ts';
import { references, storiesOpt } from '../support/fixtures.ts';
import { temporaryRoot } from '../support/temporary.ts';
import { converted, readFloats, relativeError, withSession } from './support.ts';

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
  await withSession(model, 64 * 2 ** 20, request, async (session) => {
    for (const { name, ids } of prompts) {
      const logits = await session.logits(ids);
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
    withSession(model, weightBytes, { context: 256, logits: 'all', chunk: 8 }, async (session) => {
      const logits = await session.logits(ids);
      return { logits, streamed: session.plan.streamedBytes, chunk: session.plan.chunk };
    });
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
    withSession(
      model,
      weightBytes,
      { context: 256, logits: 'all', ...request },
      async (session) => ({
        logits: await session.logits(ids),
        arenas: session.plan.arenas.length,
        streamed: session.plan.streamedBytes,
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
  await withSession(model, 64 * 2 ** 20, { context: 64 }, async (session) => {
    const straight = (await session.forward(ids)).slice();
    session.rewind(10);
    assert.equal(session.length, 10);
    await session.forward(ids.slice(10, 20));
    session.rewind(10);
    assert.deepEqual(await session.forward(ids.slice(10)), straight);
  });
});

test('FFN activations are as sparse as the reference counted them', async () => {
  const { ids, sparsity_per_layer: layers } = readReference<{
    ids: number[];
    sparsity_per_layer: number[];
  }>('active_bitmap.json');
  const expected = layers.reduce((sum, value) => sum + value, 0) / layers.length;
  await withSession(model, 64 * 2 ** 20, { context: 128 }, async (session) => {
    await session.forward(ids, 'none');
    const { ffnSparsity } = session.stats.snapshot(ids.length, 0);
    assert.ok(Math.abs(ffnSparsity - expected) < 1e-4, `${ffnSparsity}, not ${expected}`);
  });
});
