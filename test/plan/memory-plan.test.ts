import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { StoredTensor } from '../../src/flash/manifest.ts';
import type { MemoryPlan } from '../../src/plan/memory-plan.ts';
import { planFloor, planMemory } from '../../src/plan/plan-memory.ts';
import { checkPlan, tryPlan } from '../support/check-plan.ts';
import { manifestOf, opt125m, predictorsOf, planRequestOf as request } from '../support/plans.ts';
import { Dice } from '../support/random.ts';

const MIB = 1024 * 1024;

test('properties hold for random models and budgets', () => {
  const dice = new Dice(21);
  let planned = 0;
  let refused = 0;
  for (let round = 0; round < 1500; round++) {
    const heads = dice.between(1, 8);
    const hidden = heads * dice.between(1, 40);
    const manifest = manifestOf({
      hidden_size: hidden,
      num_attention_heads: heads,
      num_hidden_layers: dice.between(1, 6),
      ffn_dim: dice.between(1, 500),
      vocab_size: dice.between(10, 4000),
      max_position_embeddings: dice.between(8, 600),
      word_embed_proj_dim: dice.chance(0.3) ? dice.between(1, 64) : hidden,
      tie_word_embeddings: dice.chance(0.5),
      enable_bias: dice.chance(0.7),
      layer_norm_elementwise_affine: dice.chance(0.7),
    });
    const context = dice.between(1, manifest.spec.maxPositions);
    const sequences = dice.chance(0.5) ? 1 : dice.between(2, 12);
    const positions = dice.between(context, sequences * context);
    const memoryLimit = dice.chance(0.4) ? dice.between(3, 14) * MIB : 2 ** 32;
    const predictors = dice.chance(0.5) ? predictorsOf(manifest, dice) : null;
    const plan = tryPlan(
      request(manifest, Math.floor(dice.next() ** 3 * 12 * MIB), {
        ...{ context, sequences, positions },
        kvDtype: dice.pick(['f32', 'f16']),
        chunk: dice.between(1, 64),
        logits: dice.pick(['last', 'all']),
        threads: dice.chance(0.8) ? 1 : 2,
        memoryLimit,
        predictors,
        sparse: predictors !== null && dice.chance(0.8),
      }),
    );
    if (plan === null) {
      refused++;
      continue;
    }
    planned++;
    checkPlan(manifest, plan, memoryLimit);
  }
  assert.ok(planned > 300, `${planned} planned`);
  assert.ok(refused > 100, `${refused} refused`);
});

test('FFNs in tiles are placed and streamed like any matrix, a tile at a time', () => {
  const dice = new Dice(12);
  let [planned, streaming, whole] = [0, 0, 0];
  for (let round = 0; round < 400; round++) {
    const tile = dice.pick([2, 16, 100, 1500]);
    const manifest = manifestOf(
      {
        hidden_size: 64 * dice.between(1, 6),
        num_attention_heads: 4,
        num_hidden_layers: dice.between(1, 6),
        ffn_dim: tile * dice.between(1, 8),
        vocab_size: dice.between(100, 4000),
        max_position_embeddings: 256,
      },
      tile,
    );
    assert.deepEqual(manifest.layers, []);
    const memoryLimit = dice.chance(0.3) ? dice.between(4, 12) * MIB : 2 ** 32;
    const more = { memoryLimit, threads: dice.between(1, 3), chunk: dice.pick([1, 8, 64]) };
    const weightBudget = Math.floor(dice.next() ** 2 * 30 * MIB);
    const plan = tryPlan(request(manifest, weightBudget, more));
    if (plan === null) continue;
    planned++;
    if (plan.fitsWhole) whole++;
    else streaming++;
    checkPlan(manifest, plan, memoryLimit);
    // Activations of a whole tile have room, for one position at least.
    const { neurons, bundles } = plan.activations;
    assert.ok(bundles - neurons >= 4 * tile, `${bundles - neurons} bytes for ${tile} neurons`);
  }
  assert.ok(planned > 80 && streaming > 20 && whole > 20, `${planned} ${streaming} ${whole}`);
});

test('weights beyond one memory lie in further ones', () => {
  const plan = planMemory(request(opt125m, 500 * MIB, { memoryLimit: 100 * MIB }));
  checkPlan(opt125m, plan, 100 * MIB);
  assert.equal(plan.streamedBytes, 0);
  assert.ok(plan.arenas.length >= 2, `${plan.arenas.length} arenas`);
  const part = planMemory(request(opt125m, 220 * MIB, { memoryLimit: 100 * MIB }));
  checkPlan(opt125m, part, 100 * MIB);
  assert.ok(part.streamedBytes > 0);
});

test('more memory never means more reading', () => {
  let last = Number.POSITIVE_INFINITY;
  for (let weightBudget = 24 * MIB; weightBudget < 400 * MIB; weightBudget *= 1.2) {
    const { streamedBytes } = planMemory(request(opt125m, weightBudget));
    assert.ok(streamedBytes <= last, `${streamedBytes} <= ${last} at ${weightBudget}`);
    last = streamedBytes;
  }
  assert.equal(last, 0);
});

test('a model that fits is loaded whole and nothing streams', () => {
  const plan = planMemory(request(opt125m, 400 * MIB));
  assert.equal(plan.ring, null);
  assert.equal(plan.fitsWhole, true);
  assert.equal(plan.streamedBytes, 0);
});

test('every layer keeps the same share of its FFN', () => {
  const plan = planMemory(request(opt125m, 200 * MIB));
  const rows = opt125m.layers.map(
    ({ tensor }) => plan.residences.get(opt125m.tensors.get(tensor) as StoredTensor)?.rows ?? 0,
  );
  assert.ok(Math.min(...rows) > 0);
  assert.ok(Math.max(...rows) - Math.min(...rows) <= 8, rows.join(' '));
});

test('layers of different sizes keep the same share, and all of them where there is just enough room', () => {
  // Half as many neurons in every other layer.
  const tensors = new Map(opt125m.tensors);
  opt125m.layers.forEach(({ tensor: name }, index) => {
    const tensor = tensors.get(name) as StoredTensor;
    const [rows = 0, bytes = 0] = tensor.shape;
    const shape = index % 2 === 0 ? tensor.shape : [rows / 2, bytes];
    tensors.set(name, { ...tensor, shape, bytes: bytes * (shape[0] ?? 0) });
  });
  const uneven = { ...opt125m, tensors };
  const sizeOf = ({ items }: MemoryPlan) => items.reduce((sum, { bytes }) => sum + bytes, 0);
  const needed = sizeOf(planMemory(request(uneven, 500 * MIB)));
  const exact = planMemory({ ...request(uneven, 0), dramBudget: needed + 64 * 1024 });
  assert.equal(exact.streamedBytes, 0);
  const part = planMemory(request(uneven, 170 * MIB));
  const shares = opt125m.layers.map(({ tensor: name }) => {
    const tensor = tensors.get(name) as StoredTensor;
    return (part.residences.get(tensor)?.rows ?? 0) / (tensor.shape[0] ?? 1);
  });
  assert.ok(Math.min(...shares) > 0 && Math.max(...shares) < 1, shares.join(' '));
  assert.ok(Math.max(...shares) - Math.min(...shares) < 0.01, shares.join(' '));
});

test('below the floor: refused, item by item, with what would lower it', () => {
  assert.throws(() => planMemory(request(opt125m, MIB)), {
    name: 'BudgetError',
    exitCode: 2,
    line: /below the floor of .*: process 50.0 MiB, norms and biases .*, KV cache \(256 positions, f32\) .*, activations .*, stream ring .*Give at least \d+MiB, or ask for a shorter context/,
  });
  assert.throws(() => planMemory(request(opt125m, MIB, { draftBytes: 9 * MIB })), {
    name: 'BudgetError',
    line: /draft 9\.00 MiB\. .* or for a smaller draft \(--draft-budget\), or none/,
  });
});

test('keys and values in f16 take half the bytes of the floor, and leave them to weights', () => {
  for (const context of [1, 256, 2048]) {
    const [whole, half] = (['f32', 'f16'] as const).map((kvDtype) =>
      planFloor(request(opt125m, 0, { context, kvDtype })),
    );
    // Keys and values of 768 elements in 12 layers, 2 bytes less each.
    assert.equal(whole!.bytes - half!.bytes, context * 12 * 2 * 768 * 2);
  }
  const [whole, half] = (['f32', 'f16'] as const).map((kvDtype) => {
    const plan = planMemory(request(opt125m, 160 * MIB, { context: 2048, kvDtype }));
    checkPlan(opt125m, plan);
    assert.equal(plan.kvCache.dtype, kvDtype);
    return plan;
  });
  assert.equal(whole!.kvCache.cacheBytes, 2 * half!.kvCache.cacheBytes);
  assert.ok(half!.streamedBytes < whole!.streamedBytes);
});

test('the floor that is named is enough, and a MiB less is not', () => {
  for (const context of [1, 100, 2048]) {
    let floor = 0;
    try {
      planMemory(request(opt125m, 1, { context }));
    } catch (error) {
      floor = Number(/Give at least (\d+)MiB/.exec((error as { line: string }).line)?.[1]) * MIB;
    }
    const plan = planMemory({ ...request(opt125m, 0, { context }), dramBudget: floor });
    checkPlan(opt125m, plan);
    assert.throws(() =>
      planMemory({ ...request(opt125m, 0, { context }), dramBudget: floor - 2 * MIB }),
    );
  }
});

test('what may not stay in DRAM does not, and is streamed', () => {
  const whole = 1024 * MIB;
  const rows = (plan: MemoryPlan) => [...plan.residences.values()].reduce((n, r) => n + r.rows, 0);
  const none = planMemory(request(opt125m, whole, { residency: 'none' }));
  assert.equal(rows(none), 0);
  assert.equal(none.streamedBytes, none.usedBytes);
  const attention = planMemory(request(opt125m, whole, { residency: 'attention' }));
  const bundles = opt125m.layers.reduce((n, layer) => n + layer.neurons * layer.bundleBytes, 0);
  assert.equal(attention.streamedBytes, bundles);
  assert.ok(rows(attention) > 0);
  const all = planMemory(request(opt125m, whole, { residency: 'all' }));
  assert.deepEqual(all, planMemory(request(opt125m, whole)));
  assert.equal(all.streamedBytes, 0);
});
