/** A head that does not fit: its copy proposes, and what is sampled is what the whole head gives. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RightDrafter } from '../../scripts/right-drafter.ts';
import { generate } from '../../src/engine/generate.ts';
import { bestLogits, greedy, Sampler, usualSampling } from '../../src/engine/sampler.ts';
import type { Sequence } from '../../src/engine/sequence.ts';
import { writeRandomModel } from '../support/random-model.ts';
import { temporaryRoot } from '../support/temporary.ts';
import { converted, withRuntime, withSequence } from './support.ts';

const MIB = 1024 * 1024;
const root = temporaryRoot();

/** A head of 3 MiB, of 4.6 in all. */
const config = {
  model_type: 'llama',
  hidden_act: 'silu',
  hidden_size: 96,
  intermediate_size: 256,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  max_position_embeddings: 64,
  vocab_size: 16384,
  tie_word_embeddings: true,
};

const samplings = {
  greedy,
  usual: { ...usualSampling, seed: 5 },
  'top-k alone': { ...usualSampling, topP: 1, topK: 60, seed: 6 },
  'min-p': { ...usualSampling, minP: 0.05, temperature: 1.2, seed: 7 },
};

const prompt = [1, 300, 400, 500];

async function sampled(sequence: Sequence, sampling: (typeof samplings)['greedy'], count: number) {
  const sampler = new Sampler(sampling);
  const tokens: number[] = [];
  let next = prompt;
  while (tokens.length < count) {
    const logits = await sequence.forward(next, sampler.wanted);
    const token = sampler.sample(logits, tokens);
    tokens.push(token);
    next = [token];
  }
  return tokens;
}

/** The same in passes of several rows, of which some are for nothing. */
async function verified(
  sequence: Sequence,
  sampling: (typeof samplings)['greedy'],
  expected: readonly number[],
) {
  const { runtime } = sequence;
  assert.notEqual(runtime.plan.headProposal, null);
  const draft = new RightDrafter(runtime, [...prompt, ...expected], 0.8, 5);
  const options = { promptIds: prompt, maxTokens: expected.length, sampling, ignoreEos: true };
  const { tokens } = await generate(sequence, { ...options, draft });
  assert.ok(draft.control.totals.accepted > expected.length / 4);
  return tokens;
}

test('what is sampled is what the whole head gives', async () => {
  const dir = await converted(root, writeRandomModel(root.directory(), config));
  for (const [name, sampling] of Object.entries(samplings)) {
    const request = { context: 64, threads: 1 };
    const whole = await withSequence(dir, 32 * MIB, request, async (sequence) => {
      assert.equal(sequence.runtime.plan.headProposal, null);
      return sampled(sequence, sampling, 40);
    });
    const asked = { ...request, ...bestLogits(sampling) };
    const proposed = await withSequence(dir, 3.2 * MIB, asked, async (sequence) => {
      assert.notEqual(sequence.runtime.plan.headProposal, null, name);
      const run = sequence.runtime.stats.begin();
      const tokens = await sampled(sequence, sampling, 40);
      const { flashReads } = run.snapshot(4, 40);
      assert.ok(flashReads > 0);
      return tokens;
    });
    assert.deepEqual(proposed, whole, name);
    const drafted = await withSequence(dir, 3.6 * MIB, { ...asked, draftTokens: 5 }, (sequence) =>
      verified(sequence, sampling, whole),
    );
    assert.deepEqual(drafted, whole, name);
  }
});

test('sequences that go together sample what each samples alone', async () => {
  const dir = await converted(root, writeRandomModel(root.directory(), config));
  const all = Object.values(samplings);
  const alone: number[][] = [];
  for (const sampling of all) {
    alone.push(
      await withSequence(dir, 32 * MIB, { context: 64, threads: 1 }, (sequence) =>
        sampled(sequence, sampling, 20),
      ),
    );
  }
  const asked = { context: 64, threads: 1, sequences: all.length, bestLogits: 60 };
  const together = await withRuntime(dir, 4 * MIB, asked, (runtime) => {
    assert.notEqual(runtime.plan.headProposal, null);
    return Promise.all(all.map((sampling) => sampled(runtime.sequence(), sampling, 20)));
  });
  assert.deepEqual(together, alone);
});

test('all logits are there for those who ask, whatever the plan was made for', async () => {
  const dir = await converted(root, writeRandomModel(root.directory(), config, 2));
  const ids = [1, 300, 400];
  const request = { context: 64, threads: 1 };
  const whole = await withSequence(dir, 32 * MIB, request, async (sequence) =>
    (await sequence.forward(ids)).slice(),
  );
  await withSequence(dir, 3.2 * MIB, { ...request, bestLogits: 1 }, async (sequence) => {
    assert.notEqual(sequence.runtime.plan.headProposal, null);
    assert.deepEqual(await sequence.forward(ids), whole);
  });
});

test('a projection before the head is streamed where it does not fit', async () => {
  const projected = {
    ...{ model_type: 'opt', hidden_size: 512, ffn_dim: 64, num_hidden_layers: 1 },
    ...{ num_attention_heads: 4, max_position_embeddings: 64, vocab_size: 16384 },
    ...{ word_embed_proj_dim: 128, do_layer_norm_before: false },
  };
  const dir = await converted(root, writeRandomModel(root.directory(), projected, 3));
  const request = { context: 64, threads: 1, chunk: 4 };
  const whole = await withSequence(dir, 64 * MIB, request, (sequence) =>
    sampled(sequence, greedy, 20),
  );
  let streamed = 0;
  for (let room = 3; room < 7; room += 0.25) {
    const asked = { ...request, ...bestLogits(greedy) };
    const tokens = await withSequence(dir, room * MIB, asked, async (sequence) => {
      const { headProposal, head } = sequence.runtime.plan;
      if (headProposal === null || head.length === 0) return null;
      streamed++;
      return sampled(sequence, greedy, 20);
    }).catch((error: unknown) => {
      if ((error as Error).name === 'BudgetError') return null;
      throw error;
    });
    if (tokens !== null) assert.deepEqual(tokens, whole);
  }
  assert.ok(streamed > 0);
});
