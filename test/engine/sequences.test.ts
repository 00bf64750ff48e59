/** Many sequences on one loaded model: each gets, to the bit, what it gets alone. */

import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { type GenerateResult, generate } from '../../src/engine/generate.ts';
import type { RunRequest } from '../../src/engine/run-request.ts';
import type { Runtime } from '../../src/engine/runtime.ts';
import { greedy } from '../../src/engine/sampler.ts';
import type { Sequence } from '../../src/engine/sequence.ts';
import { InputError, InterruptedError } from '../../src/errors.ts';
import { storiesOpt } from '../support/fixtures.ts';
import { Dice } from '../support/random.ts';
import { temporaryRoot } from '../support/temporary.ts';
import { addRandomPredictors } from './sparse-runs.ts';
import { converted, withRuntime, withSequence } from './support.ts';

const MIB = 1024 * 1024;
const context = 96;
const root = temporaryRoot();
let exact = '';
let sparse = '';
before(async () => {
  exact = await converted(root, storiesOpt);
  sparse = await converted(root, storiesOpt);
  await addRandomPredictors(sparse, 2);
});

/** Logits of the last of some ids, as a pass gave them. */
interface Seen {
  readonly ids: readonly number[];
  readonly logits: Float32Array;
}

/** What a driver has done. */
interface Counts {
  forks: number;
  rewinds: number;
  interrupted: number;
  closed: number;
}

/** Does random things with a sequence and those that are forked off it, and notes what comes of it. */
class Driver {
  readonly #dice: Dice;
  readonly #vocab: number;
  readonly seen: Seen[] = [];
  readonly counts: Counts = { forks: 0, rewinds: 0, interrupted: 0, closed: 0 };

  constructor(runtime: Runtime, seed: number) {
    this.#dice = new Dice(seed);
    this.#vocab = runtime.model.manifest.spec.vocabSize;
  }

  async run(sequence: Sequence, steps: number): Promise<void> {
    for (let step = 0; step < steps; step++) {
      const action = this.#dice.between(0, 9);
      if (action === 0) {
        this.counts.rewinds++;
        sequence.rewind(this.#dice.between(0, sequence.length));
      } else if (action === 1) {
        const fork = this.#fork(sequence);
        if (fork !== null) await Promise.all([this.#grow(sequence), this.run(fork, 2)]);
        fork?.close();
      } else if (action === 2) {
        await this.#interrupt(sequence);
      } else {
        await this.#grow(sequence);
      }
    }
    this.counts.closed++;
    sequence.close();
    assert.throws(() => sequence.rewind(), /closed/);
  }

  #fork(sequence: Sequence): Sequence | null {
    try {
      const fork = sequence.fork();
      this.counts.forks++;
      assert.deepEqual(fork.ids, sequence.ids);
      return fork;
    } catch (error) {
      assert.match((error as Error).message, /planned sequences? (is|are) open/);
      return null;
    }
  }

  #ids(most: number): number[] {
    const count = Math.min(most, this.#dice.chance(0.6) ? 1 : this.#dice.between(2, 40));
    return Array.from({ length: count }, () => this.#dice.between(3, this.#vocab - 1));
  }

  async #grow(sequence: Sequence): Promise<void> {
    const before = sequence.length;
    const ids = this.#ids(context - before);
    if (ids.length === 0) return sequence.rewind(this.#dice.between(0, 20));
    if (this.#dice.chance(0.2)) {
      const all: Float32Array[] = [];
      await sequence.forward(ids, 'all', { onLogits: (logits) => all.push(logits.slice()) });
      const rows = Buffer.concat(all.map(({ buffer }) => new Uint8Array(buffer)));
      assert.equal(rows.length, 4 * this.#vocab * ids.length);
      const row = this.#dice.between(0, ids.length - 1);
      const bytes = rows.subarray(4 * this.#vocab * row, 4 * this.#vocab * (row + 1));
      const logits = new Float32Array(Uint8Array.from(bytes).buffer);
      this.seen.push({ ids: sequence.ids.slice(0, before + row + 1), logits });
      return;
    }
    const logits = await sequence.forward(ids);
    assert.equal(sequence.length, before + ids.length);
    // Logits stay what they are while others go on.
    await new Promise((resolve) => setTimeout(resolve, this.#dice.between(0, 3)));
    this.seen.push({ ids: [...sequence.ids], logits: logits.slice() });
  }

  async #interrupt(sequence: Sequence): Promise<void> {
    const before = [...sequence.ids];
    const ids = this.#ids(context - before.length);
    if (ids.length === 0) return;
    const stop = new AbortController();
    setTimeout(() => stop.abort(), this.#dice.between(0, 2));
    try {
      await sequence.forward(ids, 'last', { signal: stop.signal });
    } catch (error) {
      assert.ok(error instanceof InterruptedError);
      this.counts.interrupted++;
    }
    // What was appended until then stays.
    assert.deepEqual(sequence.ids.slice(0, before.length), before);
    assert.deepEqual(sequence.ids, [...before, ...ids].slice(0, sequence.length));
  }
}

/** Each of `seen` against the logits of a sequence that is alone, its text in one piece. */
async function checkAlone(
  model: string,
  request: Partial<RunRequest>,
  seen: readonly Seen[],
): Promise<void> {
  const { kvDtype = 'f32' } = request;
  await withSequence(model, 64 * MIB, { context, kvDtype, threads: 1 }, async (sequence) => {
    for (const { ids, logits } of seen) {
      sequence.rewind();
      const alone = await sequence.forward(ids);
      assert.ok(
        Buffer.from(alone.slice().buffer).equals(Buffer.from(logits.buffer)),
        `${ids.length} ids`,
      );
    }
  });
}

const settings: readonly (readonly [string, number, number, Partial<RunRequest>])[] = [
  ['everything in memory, two threads', 64, 8, { threads: 2 }],
  ['streamed', 4.5, 5, { threads: 1 }],
  ['streamed, batches of 8 rows, f16', 17, 8, { threads: 2, chunk: 8, kvDtype: 'f16' }],
  ['several memories', 8, 3, { threads: 1, memoryLimit: 6.5 * MIB, chunk: 8 }],
];
const sparseSettings: typeof settings = [
  ['predictors, all neurons in memory', 64, 6, { threads: 1 }],
  ['predictors, some neurons in memory', 21, 8, { threads: 2 }],
  ["predictors, the paper's window", 9, 4, { threads: 1, window: 3 }],
];

for (const [kind, list] of [
  ['exact', settings],
  ['sparse', sparseSettings],
] as const) {
  for (const [name, mebibytes, sequences, request] of list) {
    test(`random interleavings give the bits of each alone: ${name}`, async () => {
      const model = kind === 'exact' ? exact : sparse;
      // Forks share pages: fewer positions than all sequences at their longest may do.
      const plan = { context, sequences, logits: 'all', ...request } as const;
      const seen: Seen[] = [];
      const totals: Counts = { forks: 0, rewinds: 0, interrupted: 0, closed: 0 };
      await withRuntime(model, mebibytes * MIB, plan, async (runtime) => {
        assert.equal(runtime.plan.kvCache.sequences, sequences);
        const drivers = Array.from({ length: sequences }, (_, i) => new Driver(runtime, 40 + i));
        const running = drivers.slice(0, Math.max(1, sequences - 2));
        await Promise.all(running.map((driver) => driver.run(runtime.sequence(), 12)));
        for (const { seen: own, counts } of running) {
          seen.push(...own);
          for (const key of Object.keys(totals) as (keyof Counts)[]) totals[key] += counts[key];
        }
      });
      assert.ok(seen.length > 6 * Math.max(1, sequences - 2), `${seen.length} results`);
      assert.ok(totals.rewinds > 0 && totals.forks > 0, JSON.stringify(totals));
      await checkAlone(model, request, seen);
    });
  }
}

test('texts that are generated at once are those that are generated alone', async () => {
  const prompts = Array.from({ length: 6 }, (_, i) =>
    Array.from({ length: 5 + 7 * i }, (_, j) => 100 + ((i * 31 + j * 17) % 900)),
  );
  const one = (sequence: Sequence, promptIds: number[], i: number) =>
    generate(sequence, {
      promptIds,
      maxTokens: 20,
      sampling: i % 2 === 0 ? greedy : { ...greedy, temperature: 0.9, topK: 20, seed: i },
      ignoreEos: true,
    });
  const plan = { context: 80, sequences: 6 } as const;
  const together = await withRuntime(exact, 5 * MIB, plan, (runtime) =>
    Promise.all(prompts.map((ids, i) => one(runtime.sequence(), ids, i))),
  );
  const alone: GenerateResult[] = [];
  await withSequence(exact, 5 * MIB, { context: 80 }, async (sequence) => {
    for (const [i, ids] of prompts.entries()) alone.push(await one(sequence, ids, i));
  });
  assert.deepEqual(
    together.map(({ tokens, text }) => [tokens, text]),
    alone.map(({ tokens, text }) => [tokens, text]),
  );
});

test('weights that are streamed are read once for all sequences', async () => {
  const readBy = async (sequences: number) => {
    const request = { context: 32, sequences, threads: 1, residency: 'none' } as const;
    return withRuntime(exact, 16 * MIB, request, async (runtime) => {
      const all = Array.from({ length: sequences }, () => runtime.sequence());
      await Promise.all(all.map((each, i) => each.forward([5 + i, 6])));
      const run = runtime.stats.begin();
      for (let step = 0; step < 8; step++) {
        await Promise.all(all.map((each, i) => each.forward([9 + i + step])));
      }
      return run.snapshot(0, 0).flashBytes / runtime.plan.streamedBytes / 8;
    });
  };
  const [one, eight] = [await readBy(1), await readBy(8)];
  assert.ok(one > 0.9, `a pass reads ${one} times what is streamed`);
  // Rows of the embedding table are besides.
  assert.ok(eight < 1.2 * one, `with 8 sequences ${eight} times`);
});

test('one too many is refused, positions that are short too, and what is closed comes back', async () => {
  const plan = { context: 64, sequences: 3, positions: 96 } as const;
  await withRuntime(exact, 32 * MIB, plan, async (runtime) => {
    const [a, b, c] = [runtime.sequence(), runtime.sequence(), runtime.sequence()];
    assert.throws(
      () => runtime.sequence(),
      (error) => error instanceof InputError && /all 3 planned sequences/.test(error.message),
    );
    const ids = (n: number) => Array.from({ length: n }, (_, i) => 10 + i);
    await a.forward(ids(64));
    await assert.rejects(a.forward([1]), /65 tokens exceeds the planned context of 64/);
    await b.forward(ids(40));
    const short = await c.forward(ids(64)).catch((error: unknown) => error);
    assert.ok(short instanceof InputError);
    assert.match(
      short.message,
      /KV cache is full: 64 positions are needed, \d+ of the 96 planned for 3 sequences are free/,
    );
    assert.equal(c.length, 0);
    a.close();
    const logits = (await c.forward(ids(64))).slice();
    b.rewind();
    b.close();
    const d = runtime.sequence();
    assert.deepEqual(await d.forward(ids(64)), logits);
  });
});

test('a runtime that closes breaks off what runs and what waits', async () => {
  const plan = { context: 64, sequences: 2, threads: 2 } as const;
  await withRuntime(exact, 16 * MIB, plan, async (runtime) => {
    const all = [runtime.sequence(), runtime.sequence()];
    const running = all.map((each) => each.forward([5, 6, 7]).catch((error: unknown) => error));
    await runtime.close();
    for (const error of await Promise.all(running)) {
      assert.ok(error instanceof InterruptedError, String(error));
    }
    await assert.rejects(all[0]?.forward([1]) ?? Promise.resolve(), /closed/);
  });
});
