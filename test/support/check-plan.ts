/** Whether a plan is one: nothing overlaps, and all that a token uses is in DRAM or read. */

import assert from 'node:assert/strict';
import { type Manifest, rowsOf, type StoredTensor } from '../../src/flash/manifest.ts';
import { spanOf } from '../../src/flash/row-range.ts';
import { headTensor, tensorNames } from '../../src/models/spec.ts';
import { expertUnits } from '../../src/plan/expert-slots.ts';
import { predictorSpan } from '../../src/plan/fixed-layout.ts';
import type { MemoryPlan } from '../../src/plan/memory-plan.ts';
import { planMemory } from '../../src/plan/plan-memory.ts';
import type { PlanRequest } from '../../src/plan/request.ts';

/** The plan, or null below its floor. */
export function tryPlan(planRequest: PlanRequest): MemoryPlan | null {
  try {
    return planMemory(planRequest);
  } catch (error) {
    assert.equal((error as Error).name, 'BudgetError');
    return null;
  }
}

type Region = [name: string, address: number, bytes: number];

function checkRegions(regions: Region[], memoryBytes: number): void {
  regions.sort((a, b) => a[1] - b[1]);
  let end = 1; // nothing lies at address 0
  for (const [name, address, bytes] of regions) {
    assert.ok(address >= end, `${name} at ${address} overlaps what ends at ${end}`);
    assert.equal(address % (name === 'activations' ? 64 : 4096), 0);
    end = address + bytes;
  }
  assert.ok(end <= memoryBytes);
}

export function checkPlan(manifest: Manifest, plan: MemoryPlan, memoryLimit = 2 ** 32): void {
  const total = plan.items.reduce((sum, { bytes }) => sum + bytes, 0);
  assert.ok(total <= plan.dramBudget, `${total} <= ${plan.dramBudget}`);

  // Nothing overlaps and all lies inside the memories.
  const main: Region[] = [
    ['kv', plan.kvCache.address, plan.kvCache.bytes],
    ['activations', plan.activations.hidden, plan.activations.bytes],
    ['rows', plan.rowStaging.address, plan.rowStaging.slots * plan.rowStaging.slotBytes],
  ];
  if (plan.ring) main.push(['ring', plan.ring.address, plan.ring.slots * plan.ring.slotBytes]);
  if (plan.predictors) {
    const bytes = predictorSpan(plan.predictors.set)?.bytes ?? 0;
    if (bytes > 0) main.push(['predictors', plan.predictors.address, bytes]);
  }
  const unitBytes = Math.max(...manifest.ffns.flat().map((units) => units.unitBytes));
  const staging = plan.sparse?.staging ?? null;
  if (staging) main.push(['staging', staging.address, staging.slots * unitBytes]);
  const memories = [
    main,
    ...plan.arenas.map(({ transfer }): Region[] => [
      ['transfer buffers', 4096, transfer.end - 4096],
    ]),
  ];
  for (const [tensor, { arena, address, rows }] of plan.residences) {
    assert.ok(rows > 0 && rows <= rowsOf(tensor).rows);
    memories[arena]?.push([tensor.name, address, spanOf({ tensor, first: 0, count: rows }).bytes]);
  }
  for (const [tensor, { arena, address, first, rows: count }] of plan.extensions) {
    assert.equal(first, plan.residences.get(tensor)?.rows ?? 0, `${tensor.name} goes on`);
    assert.ok(count > 0 && first + count <= rowsOf(tensor).rows);
    memories[arena]?.push([
      `more of ${tensor.name}`,
      address,
      spanOf({ tensor, first, count }).bytes,
    ]);
  }
  const inDram = (tensor: StoredTensor) =>
    (plan.residences.get(tensor)?.rows ?? 0) + (plan.extensions.get(tensor)?.rows ?? 0);
  plan.sparse?.stores.forEach(({ arena, address, slots }, layer) => {
    const { bundleBytes = 0, neurons = 0 } = manifest.layers[layer] ?? {};
    assert.ok(slots <= neurons);
    if (slots < neurons)
      assert.ok(staging && staging.slots >= 2, 'what has no slot passes through');
    if (slots > 0) memories[arena]?.push([`store ${layer}`, address, slots * bundleBytes]);
  });
  const experts = expertUnits(manifest);
  const passage = plan.experts?.staging ?? null;
  if (passage) main.push(['expert staging', passage.address, passage.slots * passage.slotBytes]);
  assert.equal(plan.experts === null, manifest.spec.ffn.experts === undefined);
  plan.experts?.stores.forEach((place, layer) => {
    const units = experts[layer] ?? null;
    assert.equal(place === null, units === null);
    if (place === null || units === null) return;
    const { arena, address, slots } = place;
    assert.ok(slots <= units.count);
    if (slots < units.count) {
      assert.ok(passage && passage.slots >= 2 && passage.slotBytes >= units.unitBytes);
    }
    if (slots > 0) memories[arena]?.push([`experts ${layer}`, address, slots * units.unitBytes]);
  });
  const sizes = [plan.memoryBytes, ...plan.arenas.map(({ memoryBytes }) => memoryBytes)];
  memories.forEach((regions, arena) => {
    checkRegions(regions, sizes[arena] ?? 0);
    assert.ok((sizes[arena] ?? 0) <= memoryLimit, `${sizes[arena]} <= ${memoryLimit}`);
  });

  // What every token uses is resident or streamed, each row once and in order.
  const { spec } = manifest;
  const used = [
    tensorNames.projectIn,
    ...Array.from({ length: spec.layers }, (_, layer) => [
      `${tensorNames.qkv(layer)}.weight`,
      `${tensorNames.attentionOut(layer)}.weight`,
      `${tensorNames.router(layer)}.weight`,
      // With predictors, neurons are read one by one, and experts always are.
      ...(plan.sparse ? [] : (manifest.ffns[layer] ?? []))
        .filter(({ kind }) => kind !== 'expert')
        .map(({ tensor }) => tensor),
    ]).flat(),
    tensorNames.projectOut,
    headTensor(spec),
  ].flatMap((name) => manifest.tensors.get(name) ?? []);
  const streamed = [...plan.body, ...plan.head];
  assert.deepEqual(
    [...new Set(streamed.map(({ tensor }) => tensor))],
    used.filter((tensor) => inDram(tensor) < rowsOf(tensor).rows),
  );
  for (const tensor of used) {
    let row = inDram(tensor);
    for (const range of streamed.filter((part) => part.tensor === tensor)) {
      assert.equal(range.first, row);
      assert.equal(range.first % tensor.rowsPerBlock, 0, 'ranges begin between blocks');
      assert.ok(spanOf(range).bytes <= (plan.ring?.slotBytes ?? 0), 'a range fits its slot');
      row += range.count;
    }
    assert.equal(row, rowsOf(tensor).rows, `${tensor.name} is covered`);
  }
  // A ring stays where an extension leaves it nothing to do.
  if (plan.extensions.size === 0) assert.equal(plan.ring === null, streamed.length === 0);
  else assert.notEqual(plan.ring, null);
}
