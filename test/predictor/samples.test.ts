/** Samples come back as they were, from memory and from the file. */

import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { createMemory } from '../../src/pages.ts';
import { Samples } from '../../src/predictor/samples.ts';
import { Dice } from '../support/random.ts';
import { temporaryRoot } from '../support/temporary.ts';

const MIB = 1024 * 1024;
const root = temporaryRoot();

for (const [name, room] of [
  ['in memory', 64 * MIB],
  ['in a file', 0],
  ['some here, some there', 2 * MIB],
] as const) {
  test(`what was added is read: ${name}`, () => {
    const dice = new Dice(2);
    const [hidden, neurons, tokens] = [300, 1000, 2000];
    const memory = createMemory(8 * MIB);
    const file = join(root.directory(), 'samples.bin');
    const samples = new Samples({ tokens, heldOut: 200, hidden, neurons }, memory, room, file);
    // The second time over what the first layer left.
    for (const share of [0.9, 0.1]) {
      samples.restart();
      const rows = Array.from({ length: tokens }, () => {
        const x = Float32Array.from({ length: hidden }, () => dice.next() - 0.5);
        const acts = new Float32Array(neurons);
        for (let i = 0; i < neurons * share * 0.3; i++) {
          acts[dice.between(0, neurons - 1)] = dice.next() - 0.3;
        }
        samples.add(x, acts);
        return { x, acts };
      });
      assert.equal(samples.count, tokens);
      for (let round = 0; round < 20; round++) {
        const indices = Array.from({ length: dice.between(1, 50) }, () =>
          dice.between(0, tokens - 1),
        );
        samples.read(indices, 4096, MIB);
        indices.forEach((index, row) => {
          const x = new Float32Array(memory.buffer, 4096 + 4 * row * hidden, hidden);
          const acts = new Float32Array(memory.buffer, MIB + 4 * row * neurons, neurons);
          assert.deepEqual(x.slice(), rows[index]?.x);
          assert.deepEqual(acts.slice(), rows[index]?.acts);
        });
      }
    }
    assert.equal(existsSync(file), room < 64 * MIB);
    samples.close();
    assert.ok(!existsSync(file));
  });
}
