/** Which experts the routers of a model choose, token by token: over a text, or while the model generates one. */

import { splitDocuments, windowsOf } from '../../src/engine/documents.ts';
import type { FfnHook } from '../../src/engine/ffn-hook.ts';
import { Model } from '../../src/engine/model.ts';
import { Runtime } from '../../src/engine/runtime.ts';
import { Sampler } from '../../src/engine/sampler.ts';
import { expertsOf } from '../../src/models/spec.ts';

/** The choices of one layer. */
export interface LayerTrace {
  /** The experts of each token, ascending. */
  readonly lists: Uint32Array[];
  /** For each token (experts): the softmax of the router's logits. */
  readonly shares: Float32Array[];
}

export interface RoutingTrace {
  readonly experts: number;
  readonly topK: number;
  /** Layers that have experts. */
  readonly layers: readonly LayerTrace[];
}

export interface TraceRequest {
  readonly text: string;
  /** Tokens that are recorded. */
  readonly tokens: number;
  /** Whether the text is only the prompt, and choices are recorded while the model continues it. */
  readonly generated: boolean;
  readonly seed: number;
}

const context = 512;

/** Records a trace; every expert has a slot, so the model must fit in memory. */
export async function recordTrace(dir: string, request: TraceRequest): Promise<RoutingTrace> {
  const model = await Model.open(dir);
  const { spec } = model.manifest;
  const { count = 0, topK = 0 } = spec.ffn.experts ?? {};
  if (count === 0) throw new Error(`${dir} is no mixture of experts`);
  const layers = Array.from({ length: spec.layers }, (_, layer): LayerTrace | null =>
    expertsOf(spec, layer) === null ? null : { lists: [], shares: [] },
  );
  const hook: FfnHook = {
    input: () => {},
    activations: () => {},
    routed: (layer, { rows, weights }, logits) => {
      for (let row = 0; row < rows; row++) {
        const range = [row * count, (row + 1) * count] as const;
        const chosen = [...weights.subarray(...range).entries()].filter(([, weight]) => weight > 0);
        layers[layer]?.lists.push(Uint32Array.from(chosen, ([expert]) => expert));
        layers[layer]?.shares.push(softmax(logits.subarray(...range)));
      }
    },
  };
  const runtime = await Runtime.open(model, {
    ...{ budget: model.budgetOf(undefined).bytes, context, logits: 'last' },
  });
  try {
    if (request.generated) await generated(runtime, request, hook);
    else await throughText(runtime, request, hook);
  } finally {
    await runtime.close();
    model.close();
  }
  return { experts: count, topK, layers: layers.flatMap((layer) => layer ?? []) };
}

async function throughText(runtime: Runtime, { text, tokens }: TraceRequest, hook: FfnHook) {
  const sequence = runtime.sequence();
  const { tokenizer } = runtime.model;
  const begin = tokenizer.bosId === undefined ? [] : [tokenizer.bosId];
  let left = tokens;
  for await (const ids of windowsOf(splitDocuments(text), tokenizer, context - 1)) {
    if (left <= 0) break;
    sequence.rewind();
    await sequence.forward([...begin, ...ids], 'none', { hook });
    left -= ids.length + begin.length;
  }
}

/** Sampled at temperature 1; a new text begins whenever the context is full. */
async function generated(runtime: Runtime, request: TraceRequest, hook: FfnHook) {
  const sequence = runtime.sequence();
  const prompt = runtime.model.tokenizer.encodePrompt(request.text).slice(0, context / 4);
  for (let made = 0, text = 0; made < request.tokens; text++) {
    sequence.rewind();
    const sampler = new Sampler({
      ...{ temperature: 1, topK: 0, topP: 1, minP: 0, repetitionPenalty: 1 },
      seed: request.seed + text,
    });
    let logits = await sequence.forward(prompt, 'last');
    while (sequence.length < context && made < request.tokens) {
      const next = sampler.sample(logits, sequence.ids);
      logits = await sequence.forward([next], 'last', { hook });
      made++;
    }
  }
}

function softmax(logits: Float32Array): Float32Array {
  const most = logits.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  const exps = logits.map((logit) => Math.exp(logit - most));
  const sum = exps.reduce((a, b) => a + b, 0);
  return exps.map((value) => value / sum);
}

/** For all tokens but the first, the share of their experts that the previous token chose, too. */
export function repeatedShare({ layers }: RoutingTrace): number {
  let [repeated, all] = [0, 0];
  for (const { lists } of layers) {
    lists.forEach((list, token) => {
      const before = lists[token - 1];
      if (before === undefined) return;
      all += list.length;
      repeated += list.filter((expert) => before.includes(expert)).length;
    });
  }
  return repeated / all;
}
