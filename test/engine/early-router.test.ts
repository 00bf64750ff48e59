/** Routers that read what comes into a layer are asked before attention, which may then fail. */

import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { AttentionBlock } from '../../src/engine/attention-block.ts';
import { readManifest } from '../../src/flash/manifest-reader.ts';
import { matricesInOrder } from '../../src/plan/weight-order.ts';
import { familyFixture } from '../support/fixtures.ts';
import { temporaryRoot } from '../support/temporary.ts';
import { converted, withRuntime } from './support.ts';

const MIB = 1024 * 1024;
const root = temporaryRoot();
const ids = [1, 20, 30, 40, 50, 60, 70, 80, 90];
// Every expert is read.
const request = { context: 32, residency: 'attention' } as const;

/** Calls `before` whenever a layer's attention begins. */
function beforeAttention({ mock }: TestContext, before: (layer: number) => void): void {
  const { run } = AttentionBlock.prototype;
  mock.method(
    AttentionBlock.prototype,
    'run',
    function (this: AttentionBlock, ...args: Parameters<typeof run>) {
      before(args[0]);
      return run.apply(this, args);
    },
  );
}

async function steps(t: TestContext, family: string): Promise<string[]> {
  const seen: string[] = [];
  beforeAttention(t, (layer) => seen.push(`attention ${layer}`));
  await withRuntime(await converted(root, familyFixture(family)), 16 * MIB, request, async (r) => {
    const hook = {
      input: () => {},
      activations: () => {},
      routed: (layer: number) => seen.push(`router ${layer}`),
    };
    await r.sequence().forward(ids, 'last', { hook });
  });
  t.mock.restoreAll();
  return seen.slice(0, 4);
}

test('a router is asked before the attention of its layer, or behind it', async (t) => {
  const early = ['router 0', 'attention 0', 'router 1', 'attention 1'];
  assert.deepEqual(await steps(t, 'smallthinker-softmax'), early);
  const late = ['attention 0', 'router 0', 'attention 1', 'router 1'];
  assert.deepEqual(await steps(t, 'qwen3-moe'), late);
});

test('streamed weights come in the order in which they are used', async () => {
  const order = async (family: string) => {
    const manifest = await readManifest(await converted(root, familyFixture(family)));
    const names = matricesInOrder(manifest).body.map(({ name }) => name);
    return (
      names.indexOf('layers.1.ffn.router.weight') - names.indexOf('layers.1.attention.qkv.weight')
    );
  };
  assert.equal(await order('smallthinker'), -1);
  assert.ok((await order('qwen3-moe')) > 0);
});

test('attention that fails gives up the experts that were asked for before it', async (t) => {
  const model = await converted(root, familyFixture('smallthinker'));
  const whole = await withRuntime(model, 16 * MIB, { context: 32 }, async (runtime) =>
    (await runtime.sequence().logits(ids)).slice(),
  );
  await withRuntime(model, 16 * MIB, request, async (runtime) => {
    let left = 3;
    beforeAttention(t, (layer) => {
      if (layer === 2 && left-- > 0) throw new Error('no attention');
    });
    for (let round = 0; round < 3; round++) {
      const sequence = runtime.sequence();
      await assert.rejects(sequence.logits(ids), /no attention/);
      sequence.close();
    }
    assert.deepEqual(await runtime.sequence().logits(ids), whole);
  });
});
