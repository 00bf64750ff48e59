/** Where experts lie, at any budget. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { plannable } from '../../src/engine/run-plan.ts';
import { expectedHits, expertOutlook } from '../../src/plan/expert-demand.ts';
import { planFloor, planMemory } from '../../src/plan/plan-memory.ts';
import { checkPlan, tryPlan } from '../support/check-plan.ts';
import { manifestOf, planRequestOf as request } from '../support/plans.ts';
import { Dice } from '../support/random.ts';

const MIB = 1024 * 1024;

const config = {
  model_type: 'qwen3_moe',
  hidden_size: 256,
  num_attention_heads: 4,
  num_hidden_layers: 6,
  intermediate_size: 1024,
  num_experts: 32,
  num_experts_per_tok: 4,
  moe_intermediate_size: 192,
  mlp_only_layers: [0],
  vocab_size: 1000,
  max_position_embeddings: 512,
};
const mixture = manifestOf(config);
const slotsOf = (plan: ReturnType<typeof planMemory>) =>
  plan.experts?.stores.flatMap((place) => place?.slots ?? []) ?? [];

test('properties hold for random mixtures and budgets', () => {
  const dice = new Dice(33);
  let [planned, whole, staged, arenas] = [0, 0, 0, 0];
  for (let round = 0; round < 500; round++) {
    const layers = dice.between(1, 5);
    const experts = dice.between(1, 40);
    const shared = dice.chance(0.4);
    const manifest = manifestOf({
      ...config,
      model_type: shared ? 'qwen2_moe' : 'qwen3_moe',
      hidden_size: 32 * dice.between(1, 8),
      num_hidden_layers: layers,
      num_experts: experts,
      num_experts_per_tok: dice.between(1, experts),
      moe_intermediate_size: dice.between(1, 300),
      shared_expert_intermediate_size: dice.between(1, 500),
      mlp_only_layers: dice.chance(0.5) && layers > 1 ? [dice.between(0, layers - 1)] : [],
    });
    const memoryLimit = dice.chance(0.3) ? dice.between(3, 14) * MIB : 2 ** 32;
    const plan = tryPlan(
      request(manifest, Math.floor(dice.next() ** 2 * 24 * MIB), {
        chunk: dice.pick([1, 8, 64, 256]),
        threads: dice.chance(0.8) ? 1 : 2,
        residency: dice.pick(['all', 'all', 'all', 'attention', 'none']),
        memoryLimit,
      }),
    );
    if (plan === null) continue;
    planned++;
    checkPlan(manifest, plan, memoryLimit);
    if (plan.fitsWhole) whole++;
    if (plan.experts?.staging) staged++;
    if (plan.arenas.length > 0) arenas++;
  }
  const counts = `${planned} planned, ${whole} whole, ${staged} staged, ${arenas} in arenas`;
  assert.ok(planned > 200 && whole > 20 && staged > 50 && arenas > 10, counts);
});

test('layers have as many slots as each other, and more memory means more of them', () => {
  let last: number[] = [];
  for (let budget = 8; budget <= 80; budget += 8) {
    const plan = planMemory(request(mixture, budget * MIB, { chunk: 8 }));
    const slots = slotsOf(plan);
    assert.equal(slots.length, 5);
    assert.ok(Math.max(...slots) - Math.min(...slots) <= 1, slots.join());
    assert.ok(
      slots.every((count, i) => count >= (last[i] ?? 0)),
      `${budget} MiB: ${slots.join()}`,
    );
    last = slots;
  }
  assert.deepEqual(last, [32, 32, 32, 32, 32]);
});

test('the floor holds two experts, and is enough', () => {
  const base = request(mixture, 0, { chunk: 8 });
  const { bytes, items } = planFloor(base);
  assert.ok(items.some(({ name }) => name === 'expert staging'));
  const plan = planMemory({ ...base, dramBudget: bytes });
  assert.equal(plan.experts?.staging?.slots, 2);
  assert.throws(() => planMemory({ ...base, dramBudget: bytes - MIB }), /below the floor/);
});

test('what is expected: fewer experts and more slots read less', () => {
  assert.equal(expectedHits(0, 32), 0);
  assert.equal(expectedHits(32, 32), 1);
  const outlook = (budget: number, more = {}) => {
    const plan = planMemory(request(mixture, budget * MIB, { chunk: 8, ...more }));
    const found = expertOutlook(mixture, plan, { bandwidth: 1e9 });
    assert.ok(found !== null);
    return { ...found, read: plan.streamedBytes };
  };
  const [small, large, fewer] = [outlook(12), outlook(30), outlook(12, { expertsPerToken: 2 })];
  assert.equal(small.perToken, 4);
  assert.equal(small.slots.length, 6);
  assert.equal(small.slots[0], 0, 'a layer without experts');
  assert.ok(large.hitRate > small.hitRate && large.read < small.read);
  assert.ok(large.tokensPerSecond > small.tokensPerSecond);
  assert.equal(fewer.bytesPerToken, small.bytesPerToken / 2);
  assert.ok(fewer.read < small.read);
});

test('a prompt goes through in large chunks, as far as these are a small part of the room', () => {
  const { plan } = plannable(manifestOf({ ...config, max_position_embeddings: 4096 }));
  const alone = { threads: 1, context: 4096 };
  const activations = ({ items }: ReturnType<typeof plan>) =>
    items.find(({ id }) => id === 'activations')?.bytes ?? Number.NaN;
  assert.equal(plan({ ...alone, budget: 1024 * MIB }).chunk, 2048);
  assert.equal(plan({ ...alone, context: 700, budget: 1024 * MIB }).chunk, 700);
  const shared = plan({ ...alone, sequences: 3, budget: 1024 * MIB });
  assert.equal(shared.chunk, 512, 'others wait for the end of a pass');
  for (const budget of [700, 500, 350]) {
    const made = plan({ ...alone, budget: budget * MIB });
    assert.ok(made.chunk > 64 && made.chunk < 2048, `${made.chunk} in ${budget} MiB`);
    assert.ok(activations(made) < (budget * MIB) / 16);
  }
});
