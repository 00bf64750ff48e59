/**
 * Measures which neurons of a model fire over a text, with every neuron computed: perplexity, sparsity
 * per layer, the aggregated use s_agg(k) (share of an FFN that any of the last k tokens used), and the
 * share newly needed per token when the neurons of the last k tokens are kept.
 *
 *   node --import tsx scripts/measure-activity.ts <model> <text> [tokens] [kind]
 *
 * `kind` is printed with every figure: widened, random, or whatever the model is.
 */

import { readFileSync } from 'node:fs';
import { ModelActivity } from '../src/engine/activity.ts';
import { splitDocuments, windowsOf } from '../src/engine/documents.ts';
import { nllOf } from '../src/engine/evaluate.ts';
import type { FfnHook } from '../src/engine/ffn-hook.ts';
import { Model } from '../src/engine/model.ts';
import { Runtime } from '../src/engine/runtime.ts';

const context = 256;

const [dir = '', textFile = '', mostTokens = '2000', kind = 'real'] = process.argv.slice(2);
if (textFile === '') {
  process.stderr.write('usage: measure-activity.ts <model> <text> [tokens] [kind]\n');
  process.exit(2);
}
const model = await Model.open(dir, { predictors: false });
const { manifest, tokenizer } = model;
const activity = new ModelActivity(manifest.layers.map(({ neurons }) => neurons));
const runtime = await Runtime.open(model, {
  budget: model.budgetOf(undefined).bytes,
  context,
  logits: 'all',
});
const sequence = runtime.sequence();

/** Ids of the neurons that fire, per position of the chunk; blocks of neurons come in order. */
let fired: number[][] = [];
let layer = 0;
const hook: FfnHook = {
  input(call) {
    layer = call.layer;
    fired = Array.from({ length: call.positions }, () => []);
  },
  activations({ memory, address, stride, first, count, positions }) {
    for (let p = 0; p < positions; p++) {
      const row = new Float32Array(memory.buffer, address + p * stride * 4, count);
      for (let i = 0; i < count; i++) if (row[i] !== 0) fired[p]?.push(first + i);
    }
    const { neurons = 0 } = manifest.layers[layer] ?? {};
    if (first + count < neurons) return;
    for (const active of fired) activity.token(layer, active);
  },
};

const { bosId } = tokenizer;
if (bosId === undefined) throw new Error('the model has no BOS token to score after');
let sum = 0;
let tokens = 0;
for await (const window of windowsOf(
  splitDocuments(readFileSync(textFile, 'utf8')),
  tokenizer,
  context - 1,
)) {
  if (tokens >= Number(mostTokens)) break;
  activity.restart();
  sequence.rewind();
  const onLogits = (logits: Float32Array, first: number) => {
    const { vocabSize } = manifest.spec;
    const positions = logits.length / vocabSize;
    for (let p = 0; p < positions; p++) {
      const row = logits.subarray(p * vocabSize, (p + 1) * vocabSize);
      sum += nllOf(row, window[first + p] ?? 0);
    }
  };
  await sequence.forward([bosId, ...window.slice(0, -1)], 'all', { hook, onLogits });
  tokens += window.length;
}
await runtime.close();
model.close();

const say = (line: string) => process.stdout.write(`${line}\n`);
const percent = (value: number) => `${(100 * value).toFixed(2)}%`;
const mean = (values: readonly number[]) => values.reduce((a, b) => a + b, 0) / values.length;
say(
  `${kind}: ${manifest.spec.layers} layers, hidden ${manifest.spec.hiddenSize}, ${tokens} tokens`,
);
const nll = sum / tokens;
say(`nll ${nll.toFixed(4)}, perplexity ${Math.exp(nll).toFixed(3)} (${kind})\n`);
say(`Sparsity per layer (${kind}):`);
const sparsity = activity.active.map((share) => 1 - share);
say(`${sparsity.map(percent).join(' ')}; mean ${percent(mean(sparsity))}\n`);
const { aggregated } = activity;
say(`| k (${kind}) | ${aggregated.map(({ k }) => k).join(' | ')} |`);
say(`|---|${aggregated.map(() => '---|').join('')}`);
say(`| s_agg(k) | ${aggregated.map(({ used }) => percent(used)).join(' | ')} |`);
say(
  `| newly needed with k kept | ${aggregated.map(({ needed }) => percent(needed)).join(' | ')} |`,
);
