/** Where predictors do not pay: `plan` tells, and `generate` computes every neuron. */

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { before, describe, it } from 'node:test';
import { defaultProfile, saveProfile } from '../../src/flash/device-profile.ts';
import { runCliWell } from '../support/cli.ts';
import { calibText, storiesOpt } from '../support/fixtures.ts';
import { convert, runAtFloor } from '../support/model.ts';
import { temporaryRoot } from '../support/temporary.ts';

const root = temporaryRoot();
const model = join(root.path, 'model');
const cache = join(root.path, 'cache');
/** A device on which another read costs a thousand times what it should: nothing but streams pays. */
const slowReads = { env: { FLASHLLM_CACHE: cache } };
const prompt = ['--prompt', 'Once upon a time', '--max-tokens', '60', '--temperature', '0'];

interface Plan {
  readonly dramBudget: number;
  readonly neuronSlots: readonly number[] | null;
  readonly ffn: {
    readonly sparse: boolean;
    readonly sparseMs: number;
    readonly exactMs: number;
    readonly layers: readonly { readonly way: string }[];
  } | null;
}

/** A budget near the floor. */
let budget: readonly string[] = [];
const planOf = async (options?: typeof slowReads, ...flags: string[]) => {
  const args = ['plan', model, '--json', '--threads', '1', '--context', '64', ...budget, ...flags];
  return JSON.parse((await runCliWell(args, options)).stdout) as Plan;
};

before(async () => {
  await convert(storiesOpt, model);
  const train = ['--data', calibText, '--max-tokens', '2000', '--epochs', '1'];
  await runCliWell(['predict-train', model, ...train]);
  const before = process.env.FLASHLLM_CACHE;
  process.env.FLASHLLM_CACHE = cache;
  const profile = { ...defaultProfile, processorMs: 45, source: 'measured' as const };
  assert.ok(await saveProfile(model, profile));
  if (before === undefined) delete process.env.FLASHLLM_CACHE;
  else process.env.FLASHLLM_CACHE = before;
  const found = await runAtFloor(['plan', model, '--threads', '1', '--context', '64', '--json']);
  budget = ['--dram-budget', `${(JSON.parse(found.stdout) as Plan).dramBudget}`];
});

describe('the choice between predictors and every neuron computed', () => {
  it('is for predictors where their reads are cheap', async () => {
    const { ffn, neuronSlots } = await planOf();
    assert.equal(ffn?.sparse, true);
    assert.notEqual(neuronSlots, null);
    const { stderr } = await runCliWell([
      'generate',
      model,
      '--threads',
      '1',
      ...prompt,
      ...budget,
    ]);
    assert.doesNotMatch(stderr, /do not pay/);
  });

  it('is against them where reads cost more than streaming, and says so once', async () => {
    const { ffn, neuronSlots } = await planOf(slowReads);
    assert.equal(ffn?.sparse, false);
    assert.ok(ffn.exactMs < ffn.sparseMs);
    assert.deepEqual(new Set(ffn.layers.map(({ way }) => way)), new Set(['exact']));
    assert.equal(neuronSlots, null);
    const args = ['generate', model, '--threads', '1', ...prompt, ...budget];
    const { stdout, stderr } = await runCliWell(args, slowReads);
    assert.equal(stderr.match(/predictors do not pay at/g)?.length, 1, stderr);
    const exact = await runCliWell([...args, '--exact'], slowReads);
    assert.equal(stdout, exact.stdout);
    assert.doesNotMatch(exact.stderr, /do not pay/);
  });

  it('is told by plan for ranges of layers, and not made with --exact', async () => {
    const args = ['plan', model, '--threads', '1', '--context', '64', ...budget];
    const { stdout } = await runCliWell(args, slowReads);
    assert.match(stdout, /^ +0-\d+ +all rows: every neuron is computed +\d.* ms +\d.* ms$/m);
    assert.match(stdout, /^Expected per token: .*; predictors are not used\.$/m);
    assert.equal((await planOf(slowReads, '--exact')).ffn, null);
  });
});
