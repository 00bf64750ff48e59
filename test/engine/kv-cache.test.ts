/** Keys and values in f32 and f16: what is kept, and what it changes. */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { before, test } from 'node:test';
import { type KvDType, kvDTypes } from '../../src/dtype.ts';
import { Batch } from '../../src/engine/batch.ts';
import { splitDocuments } from '../../src/engine/documents.ts';
import { evaluate } from '../../src/engine/evaluate.ts';
import { KvCache } from '../../src/engine/kv-cache.ts';
import { Model } from '../../src/engine/model.ts';
import type { RunRequest } from '../../src/engine/run-request.ts';
import { instantiateKernels } from '../../src/kernels/module.ts';
import type { ModelSpec } from '../../src/models/spec.ts';
import { createMemory } from '../../src/pages.ts';
import { layoutKv } from '../../src/plan/kv-layout.ts';
import { storiesOpt, validText } from '../support/fixtures.ts';
import { temporaryRoot } from '../support/temporary.ts';
import { converted, withSequence } from './support.ts';

const MIB = 2 ** 20;
const root = temporaryRoot();
let model = '';
before(async () => {
  model = await converted(root, storiesOpt);
});
/** As much as makes the difference visible, and a test short. */
const text = readFileSync(validText, 'utf8').slice(0, 12000);

test('keys and values are kept row by row in each layer, in f16 within what it can hold', async () => {
  const memory = createMemory(65536);
  const kernels = await instantiateKernels(memory);
  // 4 heads that share 2 of keys and values, of 3 elements each.
  const heads = { heads: 4, kvHeads: 2, headDim: 3, scale: 1 };
  const attention: ModelSpec['attention'] = { ...heads, qkNorm: 'none', windows: [] };
  const [context, width, rowWidth] = [5, 6, 24];
  const qkv = 1024;
  const large = [1e6, -1e6, 65519, 65504, -7, 1 + 2 ** -12];
  for (const dtype of kvDTypes) {
    const address = 8192;
    const elements = 2 * 2 * context * width;
    const bytes = elements * (dtype === 'f32' ? 4 : 2);
    const sizes = { context, sequences: 1, positions: context, dtype, chunk: 4, layers: 2 };
    const kvCache = layoutKv({ attention, layers: 2 }, sizes, address);
    assert.equal(kvCache.cacheBytes, bytes);
    const plan = {
      ...{ kvCache, context, chunk: 4 },
      activations: { qkv, attended: 4096, scores: 6144, positionBias: 0 },
    };
    const cache = new KvCache(memory, kernels, plan, {
      attention,
      layers: 2,
      positions: { kind: 'none' },
    });
    const pages = cache.open();
    cache.extend(pages, 0, 4);
    const batch = new Batch([{ pages, ids: [7, 7], start: 2, wanted: 'none' }]);
    new Uint8Array(memory.buffer, address, bytes).fill(0xee);
    new Uint8Array(memory.buffer, 0, 8192).fill(0xee);
    const rows = new Float32Array(memory.buffer, qkv, 2 * rowWidth);
    rows.forEach((_, i) => {
      rows[i] = i % rowWidth < 12 ? 0 : large[i % 6]! + (i >= rowWidth ? 16 : 0);
    });
    const kept = large.map((value) => [value, value + 16]);
    cache.append(1, batch);
    // Of layer 1, positions 2 and 3, keys and then values; nothing else.
    const read = (layer: number, values: 0 | 1, position: number) => {
      const row = ((layer * 2 + values) * context + position) * width;
      if (dtype === 'f32') return [...new Float32Array(memory.buffer, address + 4 * row, width)];
      kernels.byDType.f16.toF32(256, address + 2 * row, width);
      return [...new Float32Array(memory.buffer, 256, width)];
    };
    for (const values of [0, 1] as const) {
      for (const [index, position] of [2, 3].entries()) {
        const wanted = kept.map((pair) => Math.fround(pair[index]!));
        const halved = index === 0 ? [-7, 1] : [9, 17];
        assert.deepEqual(
          read(1, values, position),
          dtype === 'f32' ? wanted : [65504, -65504, 65504, 65504, ...halved],
        );
      }
    }
    const written = new Uint8Array(memory.buffer, address, bytes).filter((byte) => byte !== 0xee);
    assert.ok(written.length <= (4 * width * bytes) / elements);
    // Attention over them, and over two positions that are all zeros.
    for (const half of [0, 1]) {
      const at = address + bytes / 2 + (half * bytes) / 4;
      new Uint8Array(memory.buffer, at, (2 * width * bytes) / elements).fill(0);
    }
    const query = 1e-6;
    rows.forEach((_, i) => {
      if (i % rowWidth < 12) rows[i] = query * (1 + (i % 5));
    });
    cache.attend(1, batch);
    const attended = new Float32Array(memory.buffer, 4096, 2 * 12);
    for (const [row, position] of [2, 3].entries()) {
      for (let head = 0; head < 4; head++) {
        const own = (values: 0 | 1, j: number) =>
          read(1, values, j).slice(3 * (head >> 1), 3 * (head >> 1) + 3);
        const q = rows.slice(row * rowWidth + 3 * head, row * rowWidth + 3 * head + 3);
        const weights = Array.from({ length: position + 1 }, (_, j) =>
          Math.exp(own(0, j).reduce((sum, key, i) => sum + key * (q[i] ?? 0), 0)),
        );
        const total = weights.reduce((sum, weight) => sum + weight, 0);
        for (let i = 0; i < 3; i++) {
          const wanted = weights.reduce((sum, w, j) => sum + (w / total) * (own(1, j)[i] ?? 0), 0);
          const found = attended[12 * row + 3 * head + i] ?? Number.NaN;
          assert.ok(Math.abs(found - wanted) <= 1e-5 * Math.abs(wanted), `${found}, not ${wanted}`);
        }
      }
    }
  }
});

function nll(kvDtype: KvDType): Promise<number> {
  const request = { context: 128, logits: 'all', kvDtype } as const;
  return withSequence(model, 64 * MIB, request, async (sequence) => {
    const options = { documents: splitDocuments(text), context: 128 };
    return (await evaluate(sequence, options)).nll;
  });
}

test('f16 changes the negative log-likelihood by less than a thousandth', async () => {
  const [whole, half] = [await nll('f32'), await nll('f16')];
  const change = Math.abs(half - whole);
  assert.ok(change > 0 && change < 1e-3, `${half} instead of ${whole}`);
});

test('f16 gives the same bits on any number of threads, at any budget, in any chunks', async () => {
  const run = (request: Partial<RunRequest>, weightBytes = 64 * MIB) => {
    const full = { context: 256, logits: 'all', kvDtype: 'f16', ...request } as const;
    return withSequence(model, weightBytes, full, async (sequence) => {
      const ids = sequence.runtime.model.tokenizer.encode(text).slice(0, 200);
      return { logits: await sequence.logits(ids), plan: sequence.runtime.plan };
    });
  };
  const plain = await run({ threads: 1 });
  assert.equal(plain.plan.kvCache.dtype, 'f16');
  assert.equal(plain.plan.streamedBytes, 0);
  for (const threads of [2, 3]) {
    assert.deepEqual((await run({ threads })).logits, plain.logits, `${threads} threads`);
  }
  for (const mebibytes of [2.1, 2.5, 3]) {
    const other = await run({ threads: 1, chunk: 8 }, mebibytes * MIB);
    assert.ok(other.plan.streamedBytes > 0, `${mebibytes} MiB are less than all weights`);
    assert.deepEqual(other.logits, plain.logits, `${mebibytes} MiB`);
  }
  assert.deepEqual((await run({ threads: 1, chunk: 1 })).logits, plain.logits, 'one by one');
  const arenas = await run({ threads: 1, memoryLimit: 4 * MIB, chunk: 16 });
  assert.ok(arenas.plan.arenas.length > 0);
  assert.deepEqual(arenas.logits, plain.logits, 'several memories');
});

test('a format that keys and values cannot have is refused', async () => {
  const opened = await Model.open(model);
  try {
    const request = { budget: 512 * MIB, context: 64, kvDtype: 'q8' as KvDType };
    assert.throws(() => opened.plan(request), /the dtype of the KV cache must be f32 or f16/);
  } finally {
    opened.close();
  }
});
