/**
 * What it gains to predict and read a parallel block's FFN before attention computes: a model with random
 * weights and random predictors generates with and without that, alternating.
 *
 *     UV_THREADPOOL_SIZE=8 node --import tsx scripts/bench-parallel.ts [directory for the model] [rounds]
 */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { convertCheckpoint } from '../src/convert/convert.ts';
import { Model } from '../src/engine/model.ts';
import { Runtime } from '../src/engine/runtime.ts';
import { SparseFfn } from '../src/engine/sparse-ffn.ts';
import { processEstimate } from '../src/plan/process.ts';
import { MIB } from '../src/units.ts';
import { addPredictors } from '../test/support/predictors.ts';
import { Dice } from '../test/support/random.ts';
import { writeRandomModel } from '../test/support/random-model.ts';

const [parent = tmpdir(), rounds = '5'] = process.argv.slice(2);
const dir = mkdtempSync(join(parent, 'bench-parallel-'));
const [prompt, tokens] = [192, 48];
/** Share of neurons that a predictor selects, and how far above the mean its threshold for scores is. */
const [wanted, deviations] = [0.1, 1.28];

const { begin } = SparseFfn.prototype;
type Input = Parameters<typeof begin>[0];

/** Starts the FFN only when its result is needed, or as early as the transformer does. */
function beginLate(late: boolean): void {
  SparseFfn.prototype.begin = late
    ? function (this: SparseFfn, input: Input) {
        return {
          finish: (output) => begin.call(this, input).finish(output),
          abandon: async () => {},
        };
      }
    : begin;
}

try {
  const checkpoint = mkdtempSync(join(dir, 'checkpoint-'));
  writeRandomModel(checkpoint, {
    model_type: 'falcon',
    hidden_size: 1024,
    num_hidden_layers: 8,
    num_attention_heads: 16,
    ffn_hidden_size: 4096,
    activation: 'relu',
    max_position_embeddings: 512,
  });
  const path = join(dir, 'model');
  await convertCheckpoint({ checkpoint, output: path, dramBudget: 2048 * MIB });
  const dice = new Dice(3);
  await addPredictors(path, (layer, { spec, layers }) => {
    const { neurons = 0 } = layers[layer] ?? {};
    const rank = 16;
    const values = (n: number) => Float32Array.from({ length: n }, () => dice.next() * 2 - 1);
    // Scores of such values have a standard deviation of sqrt(hidden rank) / 3.
    const deviation = Math.sqrt(spec.hiddenSize * rank) / 3;
    const bias = new Float32Array(neurons).fill(-deviations * deviation);
    const frequency = new Float32Array(neurons).fill(wanted);
    const weights = { a: values(rank * spec.hiddenSize), b: values(neurons * rank) };
    return { rank, ...weights, bias, frequency };
  });

  const model = await Model.open(path);
  const budget = processEstimate(model.manifest) + 90 * MIB;
  const runtime = await Runtime.open(model, { budget, context: prompt + tokens, threads: 1 });
  const sequence = runtime.sequence();
  const ids = Array.from({ length: prompt }, () => dice.between(3, 2000));
  const rates: Record<string, number[]> = { before: [], behind: [] };
  for (let round = 0; round < 2 * Number(rounds); round++) {
    const late = round % 2 === 1;
    const next = new Dice(round >> 1); // the same tokens with and without
    beginLate(late);
    sequence.rewind();
    await sequence.forward(ids);
    const run = runtime.stats.begin();
    for (let i = 0; i < tokens; i++) {
      await run.decode(() => sequence.forward([next.between(3, 2000)]));
    }
    const { decodeMs, ioMs, flashBytes } = run.snapshot(0, tokens);
    const rate = (tokens * 1000) / decodeMs;
    rates[late ? 'behind' : 'before']?.push(rate);
    const read = (flashBytes / tokens / MIB).toFixed(2);
    process.stdout.write(
      `${late ? 'behind' : 'before'} attention: ${rate.toFixed(2)} tokens/s, ` +
        `${(ioMs / tokens).toFixed(1)} ms of waiting and ${read} MiB per token\n`,
    );
  }
  const median = (values: number[] = []) =>
    [...values].sort((a, b) => a - b)[values.length >> 1] ?? 0;
  const gain = median(rates.before) / median(rates.behind);
  process.stdout.write(`reads begun before attention: ${gain.toFixed(2)} times as fast\n`);
  await runtime.close();
  model.close();
} finally {
  rmSync(dir, { recursive: true, force: true });
}
