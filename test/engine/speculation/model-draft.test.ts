/** A small model that proposes for a large one, within one budget. */

import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { type GenerateOptions, generate } from '../../../src/engine/generate.ts';
import { Model } from '../../../src/engine/model.ts';
import type { RunRequest } from '../../../src/engine/run-request.ts';
import type { Runtime } from '../../../src/engine/runtime.ts';
import { greedy } from '../../../src/engine/sampler.ts';
import type { Sequence } from '../../../src/engine/sequence.ts';
import type { Drafter } from '../../../src/engine/speculation/draft.ts';
import { withDraft } from '../../../src/engine/speculation/open-draft.ts';
import { BudgetError, InputError } from '../../../src/errors.ts';
import { copyStories } from '../../support/checkpoint.ts';
import { references, storiesOpt } from '../../support/fixtures.ts';
import { temporaryRoot } from '../../support/temporary.ts';
import { converted } from '../support.ts';
import { withPair } from './pair.ts';

const MIB = 1024 * 1024;
const root = temporaryRoot();
let large = '';
let small = '';
before(async () => {
  large = await converted(root, storiesOpt);
  small = await converted(root, storiesOpt, { dtype: 'q4' });
});

const { prompts } = JSON.parse(readFileSync(join(references, 'prompts.json'), 'utf8')) as {
  prompts: { ids: number[] }[];
};

/**
 * Opens both, the draft proposing five tokens each time.
 * @param headRows of the draft's head, if not all are used
 */
function withBoth<T>(
  weightBytes: number,
  request: Omit<RunRequest, 'budget'>,
  work: (runtime: Runtime, drafter: Drafter) => Promise<T>,
  headRows = Number.POSITIVE_INFINITY,
): Promise<T> {
  const draft = { most: 5, always: true };
  return withPair({ large, small, weightBytes, request, draft, smallOptions: { headRows } }, work);
}

async function run(sequence: Sequence, options: Partial<GenerateOptions>) {
  const usual = { promptIds: [2], maxTokens: 24, sampling: greedy };
  const { tokens, finishReason, stats } = await generate(sequence, { ...usual, ...options });
  return { made: { tokens, finishReason, held: [...sequence.ids] }, stats };
}

for (const [name, mebibytes, threads, headRows] of [
  ['all in memory, two threads', 64, 2, Number.POSITIVE_INFINITY],
  ['the model streamed', 9, 1, Number.POSITIVE_INFINITY],
  ['half of the tokens are never proposed', 64, 1, 1024],
] as const) {
  test(`the model's own tokens, greedy and sampled: ${name}`, async () => {
    const request = { context: 256, threads };
    const generateAll = async (runtime: Runtime, draft: Drafter) => {
      assert.equal(runtime.plan.streamedBytes > 0, mebibytes < 64);
      const sequence = runtime.sequence();
      let [accepted, tries] = [0, 0];
      for (const [i, { ids }] of prompts.slice(0, 4).entries()) {
        const sampling =
          i % 2 === 0 ? greedy : { ...greedy, temperature: 0.8, topK: 40, topP: 0.95, seed: i };
        const options = { promptIds: ids.slice(0, 60), sampling, ignoreEos: true };
        sequence.rewind();
        const { made: alone } = await run(sequence, options);
        sequence.rewind();
        const { made, stats } = await run(sequence, { ...options, draft });
        assert.deepEqual(made, alone);
        accepted += stats.acceptance ?? 0;
        tries++;
      }
      // The same model in 4 bits is mostly right.
      assert.ok(accepted / tries > 0.5, `${accepted / tries} accepted`);
    };
    await withBoth(mebibytes * MIB, request, generateAll, headRows);
  });
}

test('turns of a conversation, of several sequences at once, keep what they begin with', async () => {
  const request = { context: 160, sequences: 2, threads: 1 };
  await withBoth(64 * MIB, request, async (runtime, draft) => {
    const talk = async (sequence: Sequence, first: number, drafter?: Drafter) => {
      const made: number[] = [];
      let promptIds = (prompts[first]?.ids ?? []).slice(0, 20);
      for (let turn = 0; turn < 3; turn++) {
        const { tokens } = await generate(sequence, {
          ...{ promptIds, maxTokens: 16, sampling: greedy, ignoreEos: true, draft: drafter },
        });
        made.push(...tokens);
        // The next turn begins as this one, but for its last tokens.
        promptIds = [...promptIds, ...tokens.slice(0, -turn), 5 + turn, 9];
      }
      return made;
    };
    const [a, b] = [runtime.sequence(), runtime.sequence()];
    const alone = [await talk(a, 0), await talk(b, 1)];
    a.rewind();
    b.rewind();
    assert.deepEqual(await Promise.all([talk(a, 0, draft), talk(b, 1, draft)]), alone);
  });
});

test('the budget holds both, and says so', async () => {
  const request = { context: 128, threads: 1 };
  await withBoth(12 * MIB, request, async ({ plan }) => {
    const item = plan.items.find(({ id }) => id === 'draft');
    assert.ok(item !== undefined && item.bytes > MIB);
    assert.ok(plan.items.reduce((sum, { bytes }) => sum + bytes, 0) <= plan.dramBudget);
  });
  await assert.rejects(
    withBoth(3 * MIB, request, async () => {}),
    (error) => error instanceof BudgetError && /below the floor .* draft \d/.test(error.message),
  );
});

test('a draft with other tokens is refused by the first of them', async () => {
  const checkpoint = copyStories(join(root.directory(), 'other'));
  const file = join(checkpoint, 'tokenizer.json');
  const json = JSON.parse(readFileSync(file, 'utf8')) as {
    model: { vocab: Record<string, number> };
  };
  const [one = '', two = ''] = Object.keys(json.model.vocab).slice(1000, 1002);
  const { vocab } = json.model;
  [vocab[one], vocab[two]] = [vocab[two] ?? 0, vocab[one] ?? 0];
  writeFileSync(file, JSON.stringify(json));
  const [model, source] = [
    await Model.open(large),
    await Model.open(await converted(root, checkpoint)),
  ];
  try {
    assert.throws(
      () => withDraft(model, { budget: 512 * MIB, context: 64 }, { source }),
      (error) =>
        error instanceof InputError &&
        /other tokens than the model: token id \d+ is/.test(error.message),
    );
  } finally {
    model.close();
    source.close();
  }
});
