/**
 * Measures which neurons of a model fire over a text, every one of them computed: perplexity, sparsity
 * per layer, the aggregated use s_agg(k) (share of an FFN that any of the last k tokens used), and the
 * share newly needed per token when the neurons of the last k tokens are kept.
 *
 *   node --import tsx scripts/measure-activity.ts <model> <text> [tokens] [kind]
 *
 * `kind` is said beside every figure: widened, random, or what the model is.
 */

import { readFileSync } from 'node:fs';
import { splitDocuments, windowsOf } from '../src/engine/documents.ts';
import { nllOf } from '../src/engine/evaluate.ts';
import type { FfnHook } from '../src/engine/ffn-hook.ts';
import { Model } from '../src/engine/model.ts';
import { Runtime } from '../src/engine/runtime.ts';

const context = 256;
const windows = [1, 2, 3, 4, 5, 6, 8, 12, 16, 24, 32];
/** Tokens of a window that only fill the history. */
const warmUp = Math.max(...windows);

function add(counts: Uint32Array, index: number): void {
  counts[index] = (counts[index] ?? 0) + 1;
}

/** Ages of one layer's neurons, token by token. */
class LayerActivity {
  readonly #lastUsed: Int32Array;
  /** Tokens counted, and sums over them of shares of the FFN. */
  tokens = 0;
  fired = 0;
  readonly used = new Float64Array(windows.length);
  readonly missing = new Float64Array(windows.length);

  constructor(neurons: number) {
    this.#lastUsed = new Int32Array(neurons);
  }

  /** A new sequence: nothing was used. */
  restart(): void {
    this.#lastUsed.fill(-warmUp - 1);
  }

  /** @param active the neurons that fire at `position` of the sequence */
  token(position: number, active: readonly number[]): void {
    const last = this.#lastUsed;
    const ages = new Uint32Array(warmUp + 2); // of those that fire: tokens since they last did
    for (const neuron of active) {
      add(ages, Math.min(warmUp + 1, position - (last[neuron] ?? 0)));
      last[neuron] = position;
    }
    if (position < warmUp) return;
    const recent = new Uint32Array(warmUp + 1); // of all: the same, this token included
    for (const used of last) if (position - used <= warmUp) add(recent, position - used);
    const neurons = last.length;
    this.tokens++;
    this.fired += active.length / neurons;
    windows.forEach((k, i) => {
      const sum = (counts: Uint32Array, from: number, to: number) =>
        counts.subarray(from, to).reduce((total, n) => total + n, 0) / neurons;
      this.used[i] = (this.used[i] ?? 0) + sum(recent, 0, k);
      this.missing[i] = (this.missing[i] ?? 0) + sum(ages, k + 1, warmUp + 2);
    });
  }
}

const [dir = '', textFile = '', mostTokens = '2000', kind = 'real'] = process.argv.slice(2);
if (textFile === '') {
  process.stderr.write('usage: measure-activity.ts <model> <text> [tokens] [kind]\n');
  process.exit(2);
}
const model = await Model.open(dir, { predictors: false });
const { manifest, tokenizer } = model;
const layers = manifest.layers.map(({ neurons }) => new LayerActivity(neurons));
const runtime = await Runtime.open(model, {
  budget: model.budgetOf(undefined).bytes,
  context,
  logits: 'all',
});
const sequence = runtime.sequence();

/** Ids of the neurons that fire, per position of the chunk; blocks of neurons come in order. */
let fired: number[][] = [];
let layer = 0;
let firstPosition = 0;
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
    for (const [p, active] of fired.entries()) layers[layer]?.token(firstPosition + p, active);
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
  firstPosition = 0;
  for (const activity of layers) activity.restart();
  sequence.rewind();
  const onLogits = (logits: Float32Array, first: number) => {
    const { vocabSize } = manifest.spec;
    const positions = logits.length / vocabSize;
    for (let p = 0; p < positions; p++) {
      const row = logits.subarray(p * vocabSize, (p + 1) * vocabSize);
      sum += nllOf(row, window[first + p] ?? 0);
    }
    firstPosition = first + positions;
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
const sparsity = layers.map((activity) => 1 - activity.fired / activity.tokens);
say(`${sparsity.map(percent).join(' ')}; mean ${percent(mean(sparsity))}\n`);
say(`| k (${kind}) | ${windows.join(' | ')} |`);
say(`|---|${windows.map(() => '---|').join('')}`);
const over = (sums: 'used' | 'missing') =>
  windows.map((_, i) =>
    percent(mean(layers.map((activity) => (activity[sums][i] ?? 0) / activity.tokens))),
  );
say(`| s_agg(k) | ${over('used').join(' | ')} |`);
say(`| newly needed with k kept | ${over('missing').join(' | ')} |`);
