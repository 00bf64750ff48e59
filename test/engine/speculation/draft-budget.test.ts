/** How much of the budget a model that proposes gets where nobody says. */

import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { Model } from '../../../src/engine/model.ts';
import { draftBudget, draftRequest } from '../../../src/engine/speculation/draft-budget.ts';
import { defaultProfile } from '../../../src/flash/device-profile.ts';
import { storiesOpt } from '../../support/fixtures.ts';
import { addPredictors } from '../../support/predictors.ts';
import { temporaryRoot } from '../../support/temporary.ts';
import { converted } from '../support.ts';

const MIB = 1024 * 1024;
const root = temporaryRoot();
let large = '';
let plain = '';
let sparse = '';
before(async () => {
  large = await converted(root, storiesOpt, { dtype: 'f32' });
  plain = await converted(root, storiesOpt, { dtype: 'q8' });
  sparse = await converted(root, storiesOpt);
  // One neuron in eight is wanted by every token, the others by one token in ten thousand.
  await addPredictors(sparse, (layer, { spec, layers }) => {
    const neurons = layers[layer]?.neurons ?? 0;
    return {
      ...{ rank: 1, relu: true },
      a: new Float32Array(spec.hiddenSize),
      b: new Float32Array(neurons),
      bias: Float32Array.from({ length: neurons }, (_, i) => (i % 8 === 0 ? 1 : -1)),
      frequency: Float32Array.from({ length: neurons }, (_, i) => (i % 8 === 0 ? 1 : 1e-4)),
    };
  });
});

interface Chosen {
  readonly bytes: number;
  /** The draft's, with as many. */
  readonly streamedBytes: number;
  /** Neurons that have a slot, of all. */
  readonly kept: number;
  /** Whether it uses its predictors. */
  readonly sparse: boolean;
}

/** What a draft gets beside the large model, which has so many bytes besides what the process takes. */
async function chosen(dir: string, bytes: number, asked?: number): Promise<Chosen> {
  const [model, draft] = [await Model.open(large), await Model.open(dir)];
  try {
    const { items } = model.floor({ context: 1 });
    const process = items.find(({ id }) => id === 'process')?.bytes ?? 0;
    const request = { budget: process + bytes, context: 64, threads: 1 };
    const budget = draftBudget(model, draft, request, asked);
    const own = draftRequest(draft, request, budget);
    // `exact` would compute products in f32, several times as slowly.
    assert.ok(own.ffn === 'dense' || own.ffn === 'sparse', own.ffn);
    const plan = draft.plan(own);
    const slots = plan.sparse?.stores.reduce((sum, store) => sum + store.slots, 0) ?? 0;
    const neurons = draft.manifest.layers.reduce((sum, layer) => sum + layer.neurons, 0);
    const sparse = plan.sparse !== null;
    return { bytes: budget, streamedBytes: plan.streamedBytes, kept: slots / neurons, sparse };
  } finally {
    model.close();
    draft.close();
  }
}

test('without predictors it is all that the draft uses', async () => {
  for (const bytes of [12 * MIB, 256 * MIB]) {
    assert.equal((await chosen(plain, bytes)).streamedBytes, 0);
  }
});

test('neurons that are hardly ever wanted stay on flash where the model has use for the room', async () => {
  const roomy = await chosen(sparse, 256 * MIB);
  const scarce = await chosen(sparse, 8 * MIB);
  assert.equal(roomy.kept, 1);
  assert.ok(scarce.bytes < roomy.bytes && scarce.kept < 1, `${scarce.kept} of the neurons`);
  // Those that every token wants are worth more than anything of the model.
  assert.ok(scarce.kept > 1 / 8, `${scarce.kept} of the neurons`);
  // All of the draft would leave the model less than its floor.
  assert.ok((await chosen(sparse, 6 * MIB)).bytes < scarce.bytes);
});

test('a draft does without its predictors where all of it takes less memory than they and its neurons', async () => {
  // Nearly every neuron is wanted at times, and predictors of full rank are as large as a third of the FFN.
  const dir = await converted(root, storiesOpt);
  await addPredictors(dir, (layer, { spec, layers }) => {
    const neurons = layers[layer]?.neurons ?? 0;
    return {
      ...{ rank: spec.hiddenSize, relu: false },
      a: new Float32Array(spec.hiddenSize ** 2),
      b: new Float32Array(spec.hiddenSize * neurons),
      bias: new Float32Array(neurons),
      frequency: new Float32Array(neurons).fill(0.1),
    };
  });
  const { bytes, streamedBytes, sparse } = await chosen(dir, 256 * MIB);
  assert.deepEqual({ streamedBytes, sparse }, { streamedBytes: 0, sparse: false });
  assert.equal((await chosen(dir, 256 * MIB, bytes)).bytes, bytes);
});

test('what is asked for is a limit', async () => {
  const { bytes } = await chosen(sparse, 256 * MIB);
  assert.equal((await chosen(sparse, 256 * MIB, bytes >> 1)).bytes, bytes >> 1);
  assert.equal((await chosen(sparse, 256 * MIB, 2 * bytes)).bytes, bytes);
});

test('less than the draft can run with is refused, under the name of its own option', async () => {
  await assert.rejects(
    chosen(plain, 256 * MIB, 1000),
    /the draft's --draft-budget 1000 B is below the floor of/,
  );
});

test('predictors are used with a draft if they are used without it: the text stays the same', async () => {
  const model = await Model.open(sparse);
  try {
    // A read costs so much that missed neurons are dearer than a stream of all of them.
    model.files.scheduler.profile = { ...defaultProfile, processorMs: 45 };
    const process = model.floor({ context: 1 }).items.find(({ id }) => id === 'process')?.bytes;
    const request = { context: 64, threads: 1, ffn: 'auto' as const };
    const alone = { ...request, budget: (process ?? 0) + 24 * MIB };
    assert.equal(model.plan(alone).choice?.sparse, true);
    const draftBytes = 20 * MIB;
    assert.equal(model.plan({ ...alone, budget: alone.budget - draftBytes }).choice?.sparse, false);
    assert.equal(model.plan({ ...alone, draftBytes }).choice?.sparse, true);
  } finally {
    model.close();
  }
});
