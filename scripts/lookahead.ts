/**
 * Would reading ahead pay? While a layer computes, the next layer's predictor can run on this layer's
 * input, and the neurons that it predicts can be read before they are needed. For a text and the stores
 * that a budget gives, this script counts which share of the missing neurons such a guess finds, and how
 * many useless reads it makes.
 *
 *     node --import tsx scripts/lookahead.ts <model> <text> [tokens]
 */

import { readFileSync } from 'node:fs';
import { splitDocuments, windowsOf } from '../src/engine/documents.ts';
import { Model } from '../src/engine/model.ts';
import { QualityHook } from '../src/engine/prediction-quality.ts';
import { Runtime } from '../src/engine/runtime.ts';
import { BitSelection, type FfnInput } from '../src/engine/selection.ts';
import { hottest } from '../src/plan/share-slots.ts';
import { createPolicy } from '../src/residency/store-policy.ts';
import { noSlot, UnitStore } from '../src/residency/unit-store.ts';

const context = 256;
/** Shares of each layer's FFN in DRAM: the paper's quarter, more, and less. */
const residentShares = [0.1, 0.25, 0.5];

const [dir, textFile, most = '4000'] = process.argv.slice(2);
if (dir === undefined || textFile === undefined) throw new Error('give a model and a text');
const model = await Model.open(dir);
const { manifest, tokenizer, predictors } = model;
const { bosId } = tokenizer;
if (predictors === null || bosId === undefined) throw new Error('the model has no predictors');
const runtime = await Runtime.open(model, {
  budget: model.budgetOf(undefined).bytes,
  context,
  logits: 'last',
  ffn: 'measured',
});
const sequence = runtime.sequence();
const { predictor } = runtime;
if (predictor === null) throw new Error('the model has no predictors');

/** One size of the stores, and the outcome of guesses with it. */
class Trial {
  readonly share: number;
  readonly stores: readonly UnitStore[];
  missing = 0;
  found = 0;
  wasted = 0;

  constructor(share: number, layers: NonNullable<typeof predictors>['layers']) {
    this.share = share;
    this.stores = layers.map((layer) => {
      const slots = Math.floor(share * layer.neurons);
      const policy = createPolicy('auto', layer.frequency);
      const store = new UnitStore(layer.neurons, slots, policy);
      for (const id of hottest(layer, slots)) store.preload(id);
      return store;
    });
  }

  step(layer: number, wanted: Uint32Array, guess: (id: number) => boolean): void {
    const store = this.stores[layer];
    if (store === undefined) return;
    if (layer > 0) {
      const set = new Set(wanted);
      for (let id = 0; id < store.units; id++) {
        if (store.slotOf(id) !== noSlot) continue;
        if (set.has(id)) {
          this.missing++;
          if (guess(id)) this.found++;
        } else if (guess(id)) this.wasted++;
      }
    }
    store.want(wanted);
  }
}

const trials = residentShares.map((share) => new Trial(share, predictors.layers));
/** What the layer before guessed, and what this one guesses for the next. */
const room = { units: manifest.spec.ffn.neurons, rows: runtime.plan.chunk };
let guessed = new BitSelection(room);
let nextGuess = new BitSelection(room);
let place = 0;
const quality = new QualityHook(predictor, room, (layer, wanted) => {
  const row = place++;
  const guess = (id: number) => guessed.has(row, id);
  for (const trial of trials) trial.step(layer, wanted, guess);
});
const hook = {
  input(call: FfnInput): void {
    [guessed, nextGuess] = [nextGuess, guessed];
    place = 0;
    const next = predictors.layers[call.layer + 1];
    if (next !== undefined) {
      predictor.select({ ...call, layer: call.layer + 1 }, nextGuess);
    }
    quality.input(call);
  },
  activations: quality.activations.bind(quality),
};

let left = Number(most);
for await (const ids of windowsOf(
  splitDocuments(readFileSync(textFile, 'utf8')),
  tokenizer,
  context - 1,
)) {
  if (left <= 0) break;
  sequence.rewind();
  // Token by token, as generation goes: a layer's positions are one step each.
  for (const id of [bosId, ...ids]) await sequence.forward([id], 'none', { hook });
  left -= ids.length + 1;
}
await runtime.close();
model.close();

const percent = (value: number) => `${(100 * value).toFixed(1)}%`;
process.stdout.write(
  '| FFN in DRAM | missing neurons that the layer before guesses | read for nothing, of what is missing |\n|---|---|---|\n' +
    trials
      .map(
        ({ share, missing, found, wasted }) =>
          `| ${percent(share)} | ${percent(found / missing)} | ${percent(wasted / missing)} |\n`,
      )
      .join(''),
);
