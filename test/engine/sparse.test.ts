/** Generation with predictors: what they leave out is left out, and nothing else changes a bit. */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, test } from 'node:test';
import type { RunRequest } from '../../src/engine/model.ts';
import { references, storiesOpt } from '../support/fixtures.ts';
import { addPredictors, type PredictorValues, perfectPredictor } from '../support/predictors.ts';
import { Dice } from '../support/random.ts';
import { temporaryRoot } from '../support/temporary.ts';
import { converted, relativeError, withSession } from './support.ts';

const MIB = 1024 * 1024;
const root = temporaryRoot();
/** Models whose predictors want what fires, and whatever they like. */
let perfect = '';
let random = '';
before(async () => {
  perfect = await converted(root, storiesOpt);
  await addPredictors(perfect, (layer, manifest) => perfectPredictor(perfect, layer, manifest));
  random = await converted(root, storiesOpt);
  const dice = new Dice(5);
  await addPredictors(random, (layer, manifest): PredictorValues | null => {
    if (layer === 4) return null;
    const { hiddenSize } = manifest.spec;
    const neurons = manifest.layers[layer]?.neurons ?? 0;
    const rank = 5;
    const values = (n: number) => Float32Array.from({ length: n }, () => dice.next() * 2 - 1);
    const bias = Float32Array.from({ length: neurons }, () => dice.next() * 20 - 18);
    const frequency = values(neurons).map(Math.abs);
    const weights = { a: values(rank * hiddenSize), b: values(neurons * rank) };
    return { rank, relu: layer % 2 === 1, ...weights, bias, frequency };
  });
});

const { prompts } = JSON.parse(readFileSync(join(references, 'prompts.json'), 'utf8')) as {
  prompts: { name: string; ids: number[] }[];
};
const long = (prompts.find(({ name }) => name === 'long')?.ids ?? []).slice(0, 100);

/** Logits of the prompt in chunks, then of tokens one by one; and what was read. */
function run(model: string, weightBytes: number, request: Partial<RunRequest> = {}) {
  return withSession(
    model,
    weightBytes,
    { context: 256, logits: 'all', ...request },
    async (session) => {
      const logits: Float32Array[] = [];
      const onLogits = (part: Float32Array) => logits.push(part.slice());
      await session.forward(long.slice(0, 70), 'all', { onLogits });
      const before = session.stats.snapshot(70, 0);
      for (const id of long.slice(70)) await session.forward([id], 'all', { onLogits });
      const after = session.stats.snapshot(70, 0);
      const bits = Buffer.concat(logits.map(({ buffer }) => new Uint8Array(buffer)));
      return {
        bits,
        plan: session.plan,
        sparsity: after.ffnSparsity,
        decodeBytes: after.flashBytes - before.flashBytes,
        hitRate: after.cacheHitRate,
      };
    },
  );
}

function floats(bits: Buffer): Float32Array {
  return new Float32Array(bits.buffer.slice(bits.byteOffset, bits.byteOffset + bits.length));
}

test('perfect predictors change nothing but rounding', async () => {
  const sparse = await run(perfect, 64 * MIB);
  const exact = await run(perfect, 64 * MIB, { ffn: 'exact' });
  assert.ok(sparse.plan.sparse !== null && exact.plan.sparse === null);
  const error = relativeError(floats(sparse.bits), floats(exact.bits));
  assert.ok(error < 1e-5, `relative error ${error}`);
  assert.ok(sparse.sparsity > 0.5, `sparsity ${sparse.sparsity}`);
});

test('the result is the same to the bit at every budget, policy, chunk and thread count', async () => {
  let arenas = 0;
  for (const model of [perfect, random]) {
    const whole = await run(model, 64 * MIB);
    assert.ok(whole.plan.fitsWhole);
    assert.equal(whole.decodeBytes, 0);
    const variants: [number, Partial<RunRequest>][] = [
      [7 * MIB, {}],
      [5.4 * MIB, {}],
      [6 * MIB, { window: 1 }],
      [6 * MIB, { window: 5 }],
      [6 * MIB, { window: Number.POSITIVE_INFINITY }],
      [5.4 * MIB, { chunk: 5 }],
      [40 * MIB, { threads: 2 }],
      [29 * MIB, { threads: 2, chunk: 8 }],
      [8 * MIB, { memoryLimit: 5.6 * MIB, chunk: 8 }],
      [6.4 * MIB, { memoryLimit: 5.6 * MIB, chunk: 8 }],
    ];
    let partial = 0;
    for (const [weightBytes, request] of variants) {
      const other = await run(model, weightBytes, request);
      const what = `${weightBytes} ${JSON.stringify(request)}`;
      assert.ok(other.bits.equals(whole.bits), what);
      if (other.decodeBytes > 0) partial++;
      if (other.plan.arenas.length > 0) arenas++;
    }
    assert.ok(partial >= 4, `${partial} variants read neurons while decoding`);
  }
  assert.ok(arenas >= 1, `${arenas} variants used several memories`);
});
