/** A runtime takes over the memory of a draft: the same bits as before, and fewer reads. */

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { convertCheckpoint } from '../../src/convert/convert.ts';
import { Model } from '../../src/engine/model.ts';
import type { RunRequest } from '../../src/engine/run-request.ts';
import { Runtime } from '../../src/engine/runtime.ts';
import type { Sequence } from '../../src/engine/sequence.ts';
import { InterruptedError, IoError } from '../../src/errors.ts';
import { nodeReadSystem, type ReadSystem } from '../../src/flash/read-system.ts';
import { createMemory } from '../../src/pages.ts';
import { storiesOpt } from '../support/fixtures.ts';
import { writeBlockGguf } from '../support/gguf-model.ts';
import { writeRandomModel } from '../support/random-model.ts';
import { temporaryRoot } from '../support/temporary.ts';
import { addRandomPredictors } from './sparse-runs.ts';
import { converted } from './support.ts';

const root = temporaryRoot();
const size = {
  hidden_size: 64,
  num_hidden_layers: 3,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  max_position_embeddings: 256,
  // Not a multiple of the neurons that lie together.
  intermediate_size: 2100,
};

interface Extending {
  readonly request?: Partial<RunRequest>;
  /** Shares of the weights that DRAM has room for: without the draft's memory, and in that. */
  readonly kept?: number;
  readonly left?: number;
  readonly system?: ReadSystem;
}

/** Opens a model beside a draft that does not exist, whose memory it may take over. */
async function withDraftMemory<T>(
  dir: string,
  { request = {}, kept = 0.2, left = 0.5, system }: Extending,
  work: (sequence: Sequence, takeOver: (signal?: AbortSignal) => Promise<void>) => Promise<T>,
): Promise<T> {
  const model = await Model.open(dir, system && { system });
  try {
    // Besides weights, the memory holds transfer buffers.
    const { chunk = 8 } = request;
    const draftBytes = Math.round(left * model.weightBytes) + 150_000 + chunk * 15_000;
    const own = {
      context: 64,
      chunk: 8,
      logits: 'all',
      draftBytes,
      threads: 1,
      ...request,
    } as const;
    const budget = model.floor(own).bytes + Math.round(kept * model.weightBytes);
    const runtime = await Runtime.open(model, { ...own, budget });
    try {
      const memory = createMemory(draftBytes);
      // What the draft has left there.
      new Uint8Array(memory.buffer, 4096).fill(0xff);
      return await work(runtime.sequence(), async (signal) => {
        const extension = model.extension({ ...own, budget }, runtime.plan, draftBytes);
        assert.ok(extension !== null && extension.relativeMs < 1);
        await runtime.extend(extension.plan, memory, signal);
        assert.equal(runtime.plan, extension.plan);
      });
    } finally {
      await runtime.close();
    }
  } finally {
    model.close();
  }
}

/** Logits of a text, in chunks and token by token, and the share of the weight bytes that were streamed. */
async function run(sequence: Sequence) {
  const { runtime } = sequence;
  const { vocabSize } = runtime.model.manifest.spec;
  const ids = Array.from({ length: 24 }, (_, i) => (i * 1237) % vocabSize);
  const recorder = runtime.stats.begin();
  const chunks = await sequence.logits(ids);
  sequence.rewind(4);
  const single: Float32Array[] = [];
  for (const id of ids.slice(4)) single.push((await sequence.forward([id])).slice());
  const { cacheHitRate } = recorder.snapshot(0, 0);
  return { logits: { chunks, single }, streamed: 1 - cacheHitRate };
}

const ternary = {
  ...{ quant_method: 'bitnet', linear_class: 'autobitlinear', quantization_mode: 'online' },
};
const random = (config: Record<string, unknown>) => () =>
  converted(root, writeRandomModel(root.directory(), { ...size, ...config }));
const cases: Record<string, Extending & { readonly model: () => Promise<string> }> = {
  'neurons in f16, some of a matrix': {
    model: () => converted(root, storiesOpt),
    kept: 0.05,
    left: 0.8,
  },
  'neurons in q8, two threads': {
    model: () => converted(root, storiesOpt, { dtype: 'q8' }),
    ...{ kept: 0.4, left: 0.2, request: { threads: 2, chunk: 64 } },
  },
  'gated neurons, several memories before': {
    model: random({ model_type: 'llama', hidden_act: 'relu', mlp_bias: true }),
    ...{ kept: 0.5, left: 0.3, request: { memoryLimit: 2.2 * 2 ** 20 } },
  },
  'everything fits afterwards': { model: random({ model_type: 'llama' }), kept: 0.5, left: 1 },
  'activations that are normed as one row': {
    model: random({ model_type: 'bitnet', hidden_act: 'relu2', quantization_config: ternary }),
  },
  'tiles of GGUF formats, four rows together, a tied head': {
    ...{ kept: 0.02, left: 0.9 },
    model: async () => {
      const gguf = writeBlockGguf(root.directory(), {
        ...{ hidden: 96, layers: 4, heads: 4, kvHeads: 2, vocab: 8193, ffn: 2112 },
        typeOf: (name) => {
          if (name === 'output.weight') return null;
          return /token_embd|attn_output/.test(name) ? 'Q5_0' : 'Q4_1';
        },
      });
      const output = join(root.directory(), 'model');
      await convertCheckpoint({ checkpoint: gguf, output, dramBudget: 2 ** 31, tile: 192 });
      return output;
    },
  },
};

for (const [name, { model, ...options }] of Object.entries(cases)) {
  test(`the same logits, and less is streamed: ${name}`, async () => {
    await withDraftMemory(await model(), options, async (sequence, takeOver) => {
      const { runtime } = sequence;
      const streams = ({ streamedBytes, usedBytes } = runtime.plan) => streamedBytes / usedBytes;
      const before = await run(sequence);
      const [share, arenas] = [streams(), runtime.plan.arenas.length];
      assert.equal(arenas > 0, options.request?.memoryLimit !== undefined);
      assert.ok(Math.abs(before.streamed - share) < 0.01, `${before.streamed}, not ${share}`);
      await takeOver();
      const after = await run(sequence);
      assert.deepEqual(after.logits, before.logits);
      assert.ok(streams() < share - 0.1, `${streams()} instead of ${share}`);
      assert.ok(Math.abs(after.streamed - streams()) < 0.01, `${after.streamed}, not ${streams()}`);
      assert.equal(streams() === 0, options.left === 1);
    });
  });
}

test('the same logits where neurons or experts are chosen, and matrices are streamed', async () => {
  const wide = { hidden_size: 160, num_hidden_layers: 2, intermediate_size: 500 };
  const relu = await random({ model_type: 'llama', hidden_act: 'relu', ...wide })();
  await addRandomPredictors(relu, -1);
  const experts = { num_experts: 8, num_experts_per_tok: 2, moe_intermediate_size: 64 };
  const mixture = await random({
    ...{ model_type: 'qwen2_moe', ...wide, ...experts },
    shared_expert_intermediate_size: 500,
  })();
  for (const dir of [relu, mixture]) {
    await withDraftMemory(dir, { kept: 0.02, left: 0.6 }, async (sequence, takeOver) => {
      const before = await run(sequence);
      const { streamedBytes } = sequence.runtime.plan;
      await takeOver();
      assert.deepEqual((await run(sequence)).logits, before.logits);
      assert.ok(sequence.runtime.plan.streamedBytes < streamedBytes);
    });
  }
});

test('a read that fails, or an abort, leaves everything as it was, and it may be tried again', async () => {
  const model = await converted(root, storiesOpt);
  let reads = 0;
  let onRead: ((reads: number) => boolean) | null = null;
  const system: ReadSystem = {
    ...nodeReadSystem,
    readv: (fd, targets, position, done) => {
      reads++;
      if (onRead?.(reads) !== true) nodeReadSystem.readv(fd, targets, position, done);
      else setImmediate(() => done(Object.assign(new Error('EIO'), { code: 'EIO' }), 0));
    },
  };
  const request = { threads: 2 };
  await withDraftMemory(model, { request, system }, async (sequence, takeOver) => {
    const before = await run(sequence);
    const { plan } = sequence.runtime;
    const abort = new AbortController();
    const interruptions: [typeof onRead, new (...parts: never[]) => Error][] = [
      [(n) => n > 2, IoError],
      [
        () => {
          abort.abort();
          return false;
        },
        InterruptedError,
      ],
    ];
    for (const [fails, expected] of interruptions) {
      [reads, onRead] = [0, fails];
      await assert.rejects(takeOver(abort.signal), expected);
      assert.ok(reads >= 1);
      onRead = null;
      assert.equal(sequence.runtime.plan, plan);
      assert.deepEqual(await run(sequence), before);
    }
    await takeOver();
    const after = await run(sequence);
    assert.deepEqual(after.logits, before.logits);
    assert.ok(after.streamed < before.streamed - 0.1);
  });
});

test('passes of other sequences wait meanwhile', async () => {
  const model = await converted(root, storiesOpt);
  const request = { sequences: 2 };
  await withDraftMemory(model, { request }, async (sequence, takeOver) => {
    const { runtime } = sequence;
    const alone = await run(sequence);
    const other = (runtime as Runtime).sequence();
    const both = Promise.all([run(other), run(sequence)]);
    await new Promise((resolve) => setTimeout(resolve, 5));
    await takeOver();
    for (const { logits } of await both) assert.deepEqual(logits, alone.logits);
  });
});
