/**
 * What it costs to compute a dense FFN as a list that names every neuron. A model with predictors, all of
 * it in DRAM, runs with every neuron computed in place and with all neurons on the list of each layer,
 * alternating.
 *
 *     node --import tsx scripts/bench-selectors.ts <model with predictors> [rounds] [threads]
 */

import { Model } from '../src/engine/model.ts';
import { Predictor } from '../src/engine/predictor.ts';
import { Runtime } from '../src/engine/runtime.ts';
import { processEstimate } from '../src/plan/process.ts';
import { MIB } from '../src/units.ts';
import { Dice } from '../test/support/random.ts';
import { median } from './median.ts';

const [dir, rounds = '5', threads = '1'] = process.argv.slice(2);
if (dir === undefined) throw new Error('give a model with predictors');
const [prompt, tokens] = [64, 16];

const model = await Model.open(dir);
const { layers } = model.manifest;
if (model.predictors === null) throw new Error('the model has no predictors');
Predictor.prototype.select = ({ layer, positions }, into) =>
  into.setAll(layers[layer]?.neurons ?? 0, positions);

const budget = processEstimate(model.manifest) + 1.5 * model.weightBytes + 512 * MIB;
const request = { budget, context: prompt + tokens, threads: Number(threads) };
const runtimes = {
  dense: await Runtime.open(model, { ...request, ffn: 'exact' }),
  list: await Runtime.open(model, { ...request, ffn: 'sparse' }),
};
for (const [name, { plan }] of Object.entries(runtimes)) {
  if (!plan.fitsWhole) throw new Error(`${name}: the weights do not all fit`);
}
const sequences = Object.values(runtimes).map((runtime) => runtime.sequence());
const dice = new Dice(1);
const ids = Array.from({ length: prompt }, () => dice.between(3, 2000));
const ratios: Record<'prompt' | 'tokens', number[]> = { prompt: [], tokens: [] };
for (let round = 0; round <= Number(rounds); round++) {
  const times: number[][] = [];
  for (const sequence of sequences) {
    sequence.rewind();
    const begun = performance.now();
    await sequence.forward(ids);
    const read = performance.now();
    for (const id of ids.slice(0, tokens)) await sequence.forward([id]);
    times.push([(read - begun) / prompt, (performance.now() - read) / tokens]);
  }
  const [[densePrompt = 0, dense = 0] = [], [listPrompt = 0, list = 0] = []] = times;
  // The first round warms up.
  if (round === 0) continue;
  ratios.prompt.push(listPrompt / densePrompt);
  ratios.tokens.push(list / dense);
  process.stdout.write(
    `ms per token of a prompt: dense ${densePrompt.toFixed(2)}, list ${listPrompt.toFixed(2)}; ` +
      `one by one: dense ${dense.toFixed(1)}, list ${list.toFixed(1)}\n`,
  );
}
process.stdout.write(
  `list / dense: prompt ${median(ratios.prompt).toFixed(2)}, tokens ${median(ratios.tokens).toFixed(2)}\n`,
);
for (const runtime of Object.values(runtimes)) await runtime.close();
model.close();
