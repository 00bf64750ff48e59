/** Text with proposals is the text without, whatever is proposed, at every budget and for every sampler. */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { RightDrafter } from '../../../scripts/right-drafter.ts';
import { type GenerateOptions, generate } from '../../../src/engine/generate.ts';
import type { RunRequest } from '../../../src/engine/run-request.ts';
import { greedy } from '../../../src/engine/sampler.ts';
import type { SamplingOptions } from '../../../src/engine/sampling-options.ts';
import type { Sequence } from '../../../src/engine/sequence.ts';
import type { Drafter } from '../../../src/engine/speculation/draft.ts';
import { LookupDrafter } from '../../../src/engine/speculation/lookup.ts';
import type { TokenGuide } from '../../../src/engine/token-guide.ts';
import { InterruptedError } from '../../../src/errors.ts';
import { references, storiesOpt } from '../../support/fixtures.ts';
import { temporaryRoot } from '../../support/temporary.ts';
import { addRandomPredictors } from '../sparse-runs.ts';
import { converted, withRuntime, withSequence } from '../support.ts';

const MIB = 1024 * 1024;
const root = temporaryRoot();
let exact = '';
let sparse = '';
before(async () => {
  exact = await converted(root, storiesOpt);
  sparse = await converted(root, storiesOpt);
  await addRandomPredictors(sparse, 2);
});

const { prompts } = JSON.parse(readFileSync(join(references, 'prompts.json'), 'utf8')) as {
  prompts: { name: string; ids: number[]; greedy_ids: number[] }[];
};
/** Enough of them where each is generated several times. */
const some = prompts.slice(0, 4);
const context = 320;

function lookup(sequence: Sequence, most: number, always = true): LookupDrafter {
  return new LookupDrafter({ passTimes: sequence.runtime.passTimes, most, always });
}

/** Tokens, text, end, what the sequence holds then, and the figures. */
async function run(sequence: Sequence, options: Partial<GenerateOptions>) {
  sequence.rewind();
  const usual = { promptIds: [1], maxTokens: 40, sampling: greedy };
  const { tokens, text, finishReason, stats } = await generate(sequence, { ...usual, ...options });
  return { made: { tokens, text, finishReason, held: [...sequence.ids] }, stats };
}

const settings: readonly (readonly [string, number, Partial<RunRequest>, boolean])[] = [
  ['everything in memory', 64, { threads: 2 }, false],
  ['streamed', 4.5, { threads: 1 }, false],
  ['predictors, some neurons in memory', 9, { threads: 1 }, true],
];

const nucleus: SamplingOptions = {
  ...{ temperature: 0.9, topK: 40, topP: 0.95, minP: 0.02, repetitionPenalty: 1, seed: 11 },
};

for (const [name, mebibytes, request, predicted] of settings) {
  test(`the same tokens with and without proposals: ${name}`, async () => {
    const dir = predicted ? sparse : exact;
    const plan = { context, draftTokens: 8, ...request };
    let [accepted, rejected] = [0, 0];
    await withSequence(dir, mebibytes * MIB, plan, async (sequence) => {
      for (const [i, { ids }] of some.entries()) {
        // Of each prompt some tokens, some of them sampled.
        const sampling = i % 2 === 0 ? greedy : { ...nucleus, seed: i };
        const options = {
          ...{ promptIds: ids.slice(0, 60), maxTokens: 24, sampling },
          ignoreEos: i % 3 === 0,
        };
        const { made: alone } = await run(sequence, options);
        const text = [...options.promptIds, ...alone.tokens];
        for (const draft of [
          lookup(sequence, 1 + (i % 8)),
          lookup(sequence, 8, false),
          new RightDrafter(sequence.runtime, text, 0.8, 1 + ((3 * i) % 8)),
        ]) {
          const { made, stats } = await run(sequence, { ...options, draft });
          assert.deepEqual(made, alone);
          if (stats.acceptance !== undefined && stats.acceptance > 0) accepted++;
          if (stats.acceptance !== undefined && stats.acceptance < 1) rejected++;
        }
      }
    });
    assert.ok(accepted > some.length && rejected > some.length, `${accepted}, ${rejected}`);
  });
}

test('a reference prompt is continued as the reference does, and in fewer passes', async () => {
  const plan = { context, draftTokens: 4, threads: 1 };
  await withSequence(exact, 64 * MIB, plan, async (sequence) => {
    for (const { ids, greedy_ids: expected } of prompts) {
      if (ids.length + expected.length > context) continue;
      const draft = new RightDrafter(sequence.runtime, [...ids, ...expected], 1, 4);
      const options = { promptIds: ids, maxTokens: expected.length, ignoreEos: true, draft };
      const { made, stats } = await run(sequence, options);
      assert.deepEqual(made.tokens, expected);
      assert.equal(stats.acceptance, 1);
      const passes = Math.ceil((expected.length - 1) / 5);
      assert.ok(Math.abs((stats.tokensPerPass ?? 0) - (expected.length - 1) / passes) < 1e-9);
    }
  });
});

test('every sampler, penalties too, draws the same with proposals', async () => {
  const samplers: Partial<SamplingOptions>[] = [
    { repetitionPenalty: 1.3 },
    { temperature: 1, repetitionPenalty: 1.2 },
    { temperature: 1, topK: 1 },
    { temperature: 1.2, minP: 0.05 },
    { temperature: 0.7, topP: 0.8 },
  ];
  await withSequence(exact, 64 * MIB, { context, draftTokens: 6 }, async (sequence) => {
    const promptIds = prompts[0]?.ids ?? [];
    for (const [i, own] of samplers.entries()) {
      const sampling = { ...greedy, ...own, seed: i };
      const options = { promptIds, sampling, maxTokens: 48, ignoreEos: true };
      const { made: alone } = await run(sequence, options);
      const draft = new RightDrafter(sequence.runtime, [...promptIds, ...alone.tokens], 0.7, 6);
      const { made } = await run(sequence, { ...options, draft });
      assert.deepEqual(made, alone);
    }
  });
});

/** Bans what came twice already, and tells what it has seen. */
function noThirdTime(): TokenGuide & { readonly seen: number[] } {
  const counts = new Map<number, number>();
  const seen: number[] = [];
  return {
    seen,
    prepare: async (logits) => {
      await null;
      for (const [id, count] of counts) if (count > 1) logits[id] = Number.NEGATIVE_INFINITY;
    },
    drawn: (token) => {
      seen.push(token);
      counts.set(token, (counts.get(token) ?? 0) + 1);
    },
  };
}

test('a guide sees every token when those before it are known, alone and beside others', async () => {
  for (const sequences of [1, 3]) {
    const plan = { context: 160, sequences, draftTokens: 6 * sequences, threads: 1 };
    await withRuntime(exact, 64 * MIB, plan, async (runtime) => {
      const all = Array.from({ length: sequences }, () => runtime.sequence());
      const one = async (sequence: Sequence, i: number, draft?: Drafter) => {
        const guide = noThirdTime();
        const sampling = i === 1 ? { ...nucleus, seed: 5 } : greedy;
        const promptIds = (prompts[i]?.ids ?? []).slice(0, 40);
        const options = { promptIds, maxTokens: 48, sampling, ignoreEos: true, guide, draft };
        const { made, stats } = await run(sequence, options);
        return { made, seen: guide.seen, tokensPerPass: stats.tokensPerPass ?? 1 };
      };
      const alone: Awaited<ReturnType<typeof one>>[] = [];
      for (const [i, sequence] of all.entries()) alone.push(await one(sequence, i));
      const together = await Promise.all(
        all.map((sequence, i) => {
          const promptIds = (prompts[i]?.ids ?? []).slice(0, 40);
          const text = [...promptIds, ...(alone[i]?.made.tokens ?? [])];
          return one(sequence, i, new RightDrafter(runtime, text, 0.9, 6 * sequences));
        }),
      );
      for (const [i, { made, seen, tokensPerPass }] of together.entries()) {
        assert.deepEqual({ made, seen }, { made: alone[i]?.made, seen: alone[i]?.seen });
        assert.ok(tokensPerPass > 2, `${tokensPerPass} tokens per pass`);
      }
    });
  }
});

test('stop texts, ends of texts and limits within what was accepted end it where they stand', async () => {
  await withSequence(exact, 64 * MIB, { context: 64, draftTokens: 8 }, async (sequence) => {
    const promptIds = (prompts[0]?.ids ?? []).slice(0, 8);
    const long = { promptIds, maxTokens: 200, ignoreEos: true };
    const { made } = await run(sequence, long);
    assert.equal(made.finishReason, 'context');
    const all = [...promptIds, ...made.tokens];
    const words = made.text.trim().split(/\s+/);
    const ends: Partial<GenerateOptions>[] = [
      {},
      ...[1, 2, 3, 5, 9, 10].map((maxTokens) => ({ maxTokens })),
      ...[words[3], words[7], `${words[9]} ${words[10]}`].map((stop) => ({ stop: [`${stop}`] })),
      { ignoreEos: false },
    ];
    for (const end of ends) {
      const options = { ...long, ...end };
      const { made: alone } = await run(sequence, options);
      for (const most of [1, 3, 8]) {
        const draft = new RightDrafter(sequence.runtime, all, 1, most);
        const { made: speculated } = await run(sequence, { ...options, draft });
        assert.deepEqual(speculated, alone, JSON.stringify(end));
      }
    }
  });
});

test('sequences that verify at once share the rows of a pass, and get what they get alone', async () => {
  const plan = { context: 160, sequences: 5, draftTokens: 6, chunk: 8 };
  const one = (sequence: Sequence, i: number, draft?: Drafter) => {
    const { ids = [] } = prompts[i % prompts.length] ?? {};
    const sampling = i % 2 === 0 ? greedy : { ...nucleus, seed: i };
    const options = { promptIds: ids.slice(0, 60), maxTokens: 40, sampling, ignoreEos: true };
    return run(sequence, { ...options, ...(draft && { draft }) }).then(({ made }) => made);
  };
  await withRuntime(exact, 8 * MIB, plan, async (runtime) => {
    const all = Array.from({ length: 5 }, () => runtime.sequence());
    const alone: Awaited<ReturnType<typeof one>>[] = [];
    for (const [i, sequence] of all.entries()) alone.push(await one(sequence, i));
    const together = await Promise.all(
      all.map((sequence, i) => {
        const text = [...(prompts[i % prompts.length]?.ids.slice(0, 60) ?? [])];
        const known = [...text, ...(alone[i]?.tokens ?? [])];
        return one(
          sequence,
          i,
          i === 4 ? undefined : new RightDrafter(sequence.runtime, known, 0.9, 6),
        );
      }),
    );
    assert.deepEqual(together, alone);
  });
});

test('an interruption leaves what was asked for', async () => {
  await withSequence(exact, 4.5 * MIB, { context, draftTokens: 8 }, async (sequence) => {
    const promptIds = prompts[0]?.ids ?? [];
    const stop = new AbortController();
    const { made: alone } = await run(sequence, { promptIds });
    let pieces = 0;
    const { made } = await run(sequence, {
      promptIds,
      signal: stop.signal,
      draft: new RightDrafter(sequence.runtime, [...promptIds, ...alone.tokens], 1, 4),
      onText: () => {
        if (++pieces === 8) stop.abort();
      },
    });
    assert.equal(made.finishReason, 'interrupted');
    assert.deepEqual(made.tokens, alone.tokens.slice(0, made.tokens.length));
    const all = [...promptIds, ...made.tokens];
    assert.deepEqual(made.held, all.slice(0, made.held.length));
    assert.ok(made.held.length >= all.length - 1);
    await assert.rejects(
      sequence.verify([5], { each: ['last'] }, () => ({}), stop.signal),
      (error) => error instanceof InterruptedError,
    );
  });
});
