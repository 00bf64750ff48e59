/** Draft models that do not pay: the model gets their memory, and its texts stay the same. */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { type GenerateOptions, generate } from '../../../src/engine/generate.ts';
import type { LoadedModel } from '../../../src/engine/loaded-model.ts';
import { greedy } from '../../../src/engine/sampler.ts';
import type { Sequence } from '../../../src/engine/sequence.ts';
import type { RetiredDraft } from '../../../src/engine/speculation/retirement.ts';
import { IoError } from '../../../src/errors.ts';
import { nodeReadSystem, type ReadSystem } from '../../../src/flash/read-system.ts';
import { contraryStories } from '../../support/checkpoint.ts';
import { references, storiesOpt } from '../../support/fixtures.ts';
import { addPredictors } from '../../support/predictors.ts';
import { temporaryRoot } from '../../support/temporary.ts';
import { converted, withRuntime } from '../support.ts';
import { type Pair, withPair } from './pair.ts';

const MIB = 1024 * 1024;
const root = temporaryRoot();
let large = '';
let alike = '';
let contrary = '';
before(async () => {
  large = await converted(root, storiesOpt, { dtype: 'f32' });
  alike = await converted(root, storiesOpt, { dtype: 'q4' });
  contrary = await converted(root, contraryStories(root.directory()), { dtype: 'q8' });
  // Where everything is in memory, texts are made fast.
  await withRuntime(large, 64 * MIB, request, async (runtime) => {
    const sequence = runtime.sequence();
    for (const [prompt, sampling] of texts) {
      const { made } = await run(sequence, { sampling }, prompt);
      expected.set(`${prompt} ${sampling.temperature}`, made);
    }
  });
});

const { prompts } = JSON.parse(readFileSync(join(references, 'prompts.json'), 'utf8')) as {
  prompts: { ids: number[] }[];
};
const request = { context: 300, threads: 1 };
/** Long enough that a draft is given up even if a busy machine hides its loss at first. */
const maxTokens = 200;

interface Made {
  readonly tokens: readonly number[];
  readonly finishReason: string;
  readonly held: readonly number[];
}

/** Tokens after a prompt, and what the sequence holds then. */
async function run(sequence: Sequence, options: Partial<GenerateOptions> = {}, prompt = 0) {
  const promptIds = (prompts[prompt]?.ids ?? []).slice(0, 30);
  sequence.rewind();
  const { tokens, finishReason, stats } = await generate(sequence, {
    ...{ promptIds, maxTokens, sampling: greedy, ignoreEos: true },
    ...options,
  });
  return { made: { tokens, finishReason, held: [...sequence.ids] }, stats };
}

const sampled = { ...greedy, temperature: 0.9, topK: 40, topP: 0.95, seed: 3 };
/** Prompts and how tokens are chosen. */
const texts = [
  [0, greedy],
  [0, sampled],
  [1, sampled],
  [2, sampled],
] as const;
/** Texts without a draft. */
const expected = new Map<string, Made>();
const textOf = (prompt: number, { temperature } = greedy) =>
  expected.get(`${prompt} ${temperature}`);

/** A system that asks `use` what becomes of each read into another memory than the runtime's first one. */
function watched(use: () => 'fails' | 'goes on'): {
  readonly system: ReadSystem;
  /** From now on, for this runtime. */
  readonly watch: (runtime: LoadedModel) => void;
} {
  let first: ArrayBufferLike | null = null;
  const system: ReadSystem = {
    ...nodeReadSystem,
    readv: (fd, targets, position, done) => {
      const elsewhere = first !== null && targets.every(({ buffer }) => buffer !== first);
      if (!elsewhere || use() === 'goes on') nodeReadSystem.readv(fd, targets, position, done);
      else setImmediate(() => done(Object.assign(new Error('EIO'), { code: 'EIO' }), 0));
    },
  };
  const watch = ({ memory }: LoadedModel) => {
    first = memory.buffer;
  };
  return { system, watch };
}

test('a draft that is always wrong is closed, and the model reads less; the texts stay the same', async () => {
  const retired: RetiredDraft[] = [];
  const draft = { onRetired: (one: RetiredDraft) => retired.push(one) };
  const pair: Pair = { large, small: contrary, weightBytes: 9 * MIB, request, draft };
  await withPair(pair, async (runtime, drafter, alone) => {
    const { plan } = runtime;
    const sequence = runtime.sequence();
    const first = await run(sequence, { draft: drafter });
    assert.deepEqual(first.made, textOf(0));
    assert.equal(first.stats.draftRetired, true);
    assert.equal(first.stats.acceptance, 0);

    const { streamedBytes, arenas, items } = runtime.plan;
    const [{ memoryBytes = 0, transfer = { end: 0 } } = {}] = arenas;
    assert.deepEqual(retired, [{ tokensPerPass: 1, bytes: memoryBytes }]);
    const sumOf = (all: typeof items) => all.reduce((sum, { bytes }) => sum + bytes, 0);
    assert.equal(sumOf(items), sumOf(plan.items));
    // What the draft has besides its memory, transfer buffers and the ring are not weights of the model.
    const [left = 0, ring = 0] = (['draft', 'ring'] as const).map(
      (id) => items.find((item) => item.id === id)?.bytes,
    );
    const least = runtime.model.plan(alone).streamedBytes;
    const most = least + left + ring + transfer.end;
    assert.ok(streamedBytes <= most, `${streamedBytes} streamed, ${least} without a draft`);

    const second = await run(sequence, { draft: drafter, sampling: sampled }, 1);
    assert.deepEqual(second.made, textOf(1, sampled));
    assert.equal(second.stats.draftRetired, true);
    const [now = 0, then = 0] = [second, first].map(({ stats }) => stats.flashBytesPerToken);
    // Besides streamed weights, a token reads a row of the embedding.
    assert.ok(now < 1.05 * streamedBytes + 2 * 32_768, `${now} read, ${streamedBytes} streamed`);
    assert.ok(now < 0.8 * then, `${now} bytes per token after ${then}`);
    assert.equal(retired.length, 1);
    // A text that goes on, as in a conversation, and one without the draft.
    const rest = await generate(sequence, {
      ...{ promptIds: [...sequence.ids, 5, 9], maxTokens: 20, sampling: greedy, draft: drafter },
    });
    assert.ok(rest.tokens.length > 0);
    const { made, stats } = await run(sequence, { maxTokens: 40 });
    assert.deepEqual(made.tokens, textOf(0)?.tokens.slice(0, 40));
    assert.equal(stats.draftRetired, undefined);
  });
});

test('several texts at once, one of which gives the draft up for all', async () => {
  const several = { ...request, sequences: 3, threads: 2 };
  const pair = { large, small: contrary, weightBytes: 31 * MIB, request: several, draft: {} };
  await withPair(pair, async (runtime, drafter) => {
    const sequences = [0, 1, 2].map(() => runtime.sequence());
    const options = { draft: drafter, sampling: sampled };
    const drafted = await Promise.all(sequences.map((each, i) => run(each, options, i)));
    for (const [i, { made }] of drafted.entries()) assert.deepEqual(made, textOf(i, sampled));
    assert.ok(drafted.some(({ stats }) => stats.draftRetired === true));
    assert.equal(runtime.plan.extensions.size > 0, true);
  });
});

test('a read that fails meanwhile ends that text only; an abort ends it as usual', async () => {
  let [failing, aborts] = [true, 0];
  const abort = new AbortController();
  const { system, watch } = watched(() => {
    if (failing) return 'fails';
    aborts++;
    abort.abort();
    return 'goes on';
  });
  const largeOptions = { system };
  const draft = {};
  const pair = { large, small: contrary, weightBytes: 9 * MIB, request, draft, largeOptions };
  await withPair(pair, async (runtime, drafter) => {
    watch(runtime);
    const { plan } = runtime;
    const sequence = runtime.sequence();
    await assert.rejects(run(sequence, { draft: drafter }), IoError);
    assert.equal(runtime.plan, plan);
    failing = false;
    const interrupted = await run(sequence, { draft: drafter, signal: abort.signal });
    assert.equal(interrupted.made.finishReason, 'interrupted');
    const { tokens } = interrupted.made;
    assert.deepEqual(tokens, textOf(0)?.tokens.slice(0, tokens.length));
    assert.ok(aborts > 0);
    assert.equal(runtime.plan, plan);
    // The text without the draft, and the next one with it, which takes the memory over.
    const alone = await run(sequence, { maxTokens: 40 });
    assert.deepEqual(alone.made.tokens, textOf(0)?.tokens.slice(0, 40));
    assert.deepEqual((await run(sequence, { draft: drafter })).made, textOf(0));
    assert.notEqual(runtime.plan, plan);
  });
});

test('a draft that is mostly right is kept', async () => {
  // A slow device: a pass takes so long that proposals hardly count.
  const slow: ReadSystem = {
    ...nodeReadSystem,
    readv: (...read) => setTimeout(() => nodeReadSystem.readv(...read), 5),
  };
  const pair = { large, small: alike, weightBytes: 9 * MIB, request, draft: {} };
  await withPair({ ...pair, largeOptions: { system: slow } }, async (runtime, drafter) => {
    const { plan } = runtime;
    assert.ok(drafter.retirement !== undefined);
    const sequence = runtime.sequence();
    for (const prompt of [0, 1]) {
      const { stats } = await run(sequence, { draft: drafter, maxTokens: 160 }, prompt);
      assert.equal(stats.draftRetired, undefined);
      assert.ok((stats.tokensPerPass ?? 0) > 1.5, `${stats.tokensPerPass} tokens per pass`);
    }
    assert.ok(drafter.control.totals.passes > 48, `${drafter.control.totals.passes} passes`);
    assert.equal(runtime.plan, plan);
  });
});

test('nothing is given up where the model has no use for the memory, or proposals are wanted anyway', async () => {
  const pair = { large, small: contrary, request };
  const kept = (more: Omit<Pair, 'large' | 'small' | 'request'> & Partial<Pair>) =>
    withPair({ ...pair, ...more }, async (_, drafter) => drafter.retirement);
  assert.notEqual(await kept({ weightBytes: 9 * MIB, draft: {} }), undefined);
  assert.equal(await kept({ weightBytes: 9 * MIB, draft: { always: true } }), undefined);
  assert.equal(await kept({ weightBytes: 64 * MIB, draft: {} }), undefined);
  // Neurons that a predictor chooses are read one by one, and matrices that every token uses come first.
  const chosen = await converted(root, storiesOpt);
  await addPredictors(chosen, (_, { spec: { hiddenSize, ffn } }) => ({
    ...{ rank: 1, a: new Float32Array(hiddenSize), b: new Float32Array(ffn.neurons) },
    bias: new Float32Array(ffn.neurons).fill(-1),
    frequency: new Float32Array(ffn.neurons).fill(1e-4),
  }));
  await withPair(
    { ...pair, large: chosen, weightBytes: 10 * MIB, draft: {} },
    async (runtime, drafter) => {
      const slots = runtime.plan.sparse?.stores.map((store) => store.slots) ?? [];
      assert.ok(slots.length > 0 && slots.every((count) => count < 512), slots.join(' '));
      assert.equal(drafter.retirement, undefined);
    },
  );
});
