/** Generation with predictors, to be compared with itself. */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { RunRequest } from '../../src/engine/run-request.ts';
import type { Manifest } from '../../src/flash/manifest.ts';
import { references } from '../support/fixtures.ts';
import { addPredictors, type PredictorValues } from '../support/predictors.ts';
import { Dice } from '../support/random.ts';
import { relativeError, withSequence } from './support.ts';

const MIB = 1024 * 1024;

const { prompts } = JSON.parse(readFileSync(join(references, 'prompts.json'), 'utf8')) as {
  prompts: { name: string; ids: number[] }[];
};
const long = (prompts.find(({ name }) => name === 'long')?.ids ?? []).slice(0, 100);

/** Gives a model predictors that want whatever they like, in every layer but one. */
export function addRandomPredictors(model: string, without: number): Promise<void> {
  const dice = new Dice(5);
  return addPredictors(model, (layer, manifest: Manifest): PredictorValues | null => {
    if (layer === without) return null;
    const { hiddenSize } = manifest.spec;
    const neurons = manifest.layers[layer]?.neurons ?? 0;
    const rank = 5;
    const values = (n: number) => Float32Array.from({ length: n }, () => dice.next() * 2 - 1);
    const bias = Float32Array.from({ length: neurons }, () => dice.next() * 20 - 18);
    const frequency = values(neurons).map(Math.abs);
    const weights = { a: values(rank * hiddenSize), b: values(neurons * rank) };
    return { rank, relu: layer % 2 === 1, ...weights, bias, frequency };
  });
}

/** Logits of the prompt in chunks, then of tokens one by one; and what was read. */
function run(model: string, weightBytes: number, request: Partial<RunRequest> = {}) {
  return withSequence(
    model,
    weightBytes,
    { context: 256, logits: 'all', ...request },
    async (sequence) => {
      const logits: Float32Array[] = [];
      const onLogits = (part: Float32Array) => logits.push(part.slice());
      const run = sequence.runtime.stats.begin();
      await sequence.forward(long.slice(0, 70), 'all', { onLogits });
      const before = run.snapshot(70, 0);
      for (const id of long.slice(70)) await sequence.forward([id], 'all', { onLogits });
      const after = run.snapshot(70, 0);
      const bits = Buffer.concat(logits.map(({ buffer }) => new Uint8Array(buffer)));
      return {
        bits,
        plan: sequence.runtime.plan,
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

/** Asserts that predictors which want what fires leave out nothing but zeros, and many of these. */
export async function assertPerfect(model: string, leastSparsity: number): Promise<void> {
  const sparse = await run(model, 64 * MIB);
  const exact = await run(model, 64 * MIB, { ffn: 'exact' });
  assert.ok(sparse.plan.sparse !== null && exact.plan.sparse === null);
  const error = relativeError(floats(sparse.bits), floats(exact.bits));
  assert.ok(error < 1e-5, `relative error ${error}`);
  assert.ok(sparse.sparsity > leastSparsity, `sparsity ${sparse.sparsity}`);
}

/** What a variant did besides giving the same bits. */
export interface VariantCounts {
  /** How many read neurons while decoding. */
  readonly partial: number;
  /** How many used several memories. */
  readonly arenas: number;
}

/** Asserts that every variant gives the bits of a run in which all is in memory. */
export async function assertSameBits(
  model: string,
  variants: readonly (readonly [weightBytes: number, request: Partial<RunRequest>])[],
  base: Partial<RunRequest> = {},
): Promise<VariantCounts> {
  const whole = await run(model, 64 * MIB, base);
  assert.ok(whole.plan.fitsWhole);
  assert.equal(whole.decodeBytes, 0);
  let [partial, arenas] = [0, 0];
  for (const [weightBytes, request] of variants) {
    const other = await run(model, weightBytes, { ...base, ...request });
    assert.ok(other.bits.equals(whole.bits), `${weightBytes} ${JSON.stringify(request)}`);
    if (other.decodeBytes > 0) partial++;
    if (other.plan.arenas.length > 0) arenas++;
  }
  return { partial, arenas };
}
