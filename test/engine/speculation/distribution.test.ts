/**
 * What is sampled with proposals is distributed as without: 20,000 draws of a small chain of tokens,
 * proposed by another chain, against the probabilities that the sampler's settings leave.
 */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PassTimes } from '../../../src/engine/pass-times.ts';
import { greedy, Sampler } from '../../../src/engine/sampler.ts';
import type { SamplingOptions } from '../../../src/engine/sampling-options.ts';
import type { Sequence } from '../../../src/engine/sequence.ts';
import { DraftControl } from '../../../src/engine/speculation/control.ts';
import type { Draft, Drafter } from '../../../src/engine/speculation/draft.ts';
import { SpeculativeTokens } from '../../../src/engine/speculation/speculative-tokens.ts';
import type { RunRecorder } from '../../../src/engine/stats.ts';
import { Dice } from '../../support/random.ts';

const vocabSize = 8;
/** With the first sampler; fewer with the others. */
const draws = [20_000, 5000, 5000, 5000];
const dice = new Dice(12);
/** Of each token, the logits of what follows it. */
const chain = Array.from({ length: vocabSize }, () =>
  Float32Array.from({ length: vocabSize }, () => 4 * dice.next()),
);
/** The same, roughly. */
const roughly = chain.map((logits) => logits.map((logit) => logit + 2 * dice.next() - 1));

/** A model of which each token depends on the one before it alone. */
class ChainSequence {
  readonly #ids: number[] = [];
  readonly room = 1000;
  readonly runtime = {
    model: { manifest: { spec: { vocabSize } } },
    plan: { kvCache: { sequences: 1 } },
  };

  get length(): number {
    return this.#ids.length;
  }

  rewind(length: number): void {
    this.#ids.length = length;
  }

  async verify<T>(ids: readonly number[], _: unknown, use: (logits: Float32Array) => T) {
    this.#ids.push(...ids);
    const rows = ids.map((id) => chain[id] ?? new Float32Array(vocabSize));
    return use(Float32Array.from(rows.flatMap((row) => [...row])));
  }
}

/** Guesses by the rough chain as the sampler would choose. */
class ChainDrafter implements Drafter {
  readonly control: DraftControl;
  readonly flashBytes = 0;

  constructor(most: number) {
    const options = { passTimes: new PassTimes(), levels: [0.7], most, free: false, always: true };
    this.control = new DraftControl(options);
  }

  begin(_: Sequence, sampler: Sampler): Draft {
    const text: number[] = [];
    let start = 0;
    return {
      prepare: async () => {},
      start: (ids) => {
        text.splice(0, text.length, ...ids);
        start = ids.length;
      },
      next: async () => {
        const logits = Float32Array.from(roughly[text.at(-1) ?? 0] ?? []);
        text.push(sampler.guess(logits, text, text.length - start));
        return { token: text.at(-1) ?? 0, level: 0 };
      },
    };
  }
}

/** So many tokens behind token 0, with `most` proposed for each pass. */
async function speculated(sampling: SamplingOptions, count: number, most: number) {
  const sequence = new ChainSequence() as unknown as Sequence;
  const sampler = new Sampler(sampling);
  const drafter = new ChainDrafter(most);
  const recorder = { decode: <T>(work: () => Promise<T>) => work(), token: () => {} };
  const source = new SpeculativeTokens({
    ...{ sequence, sampler, drafter, draft: drafter.begin(sequence, sampler), signal: undefined },
    recorder: recorder as unknown as RunRecorder,
    wanted: sampler.wanted,
    endIds: new Set(),
  });
  const ids = [0];
  while (ids.length <= count) ids.push(await source.next(ids, 100));
  return { ids, figures: source.figures };
}

function alone(sampling: SamplingOptions, count: number): number[] {
  const sampler = new Sampler(sampling);
  const ids = [0];
  while (ids.length <= count) {
    ids.push(sampler.sample(Float32Array.from(chain[ids.at(-1) ?? 0] ?? []), ids));
  }
  return ids;
}

/** The probabilities behind a token, by the definitions of top-k, top-p and min-p. */
function probabilities(logits: Float32Array, sampling: SamplingOptions): number[] {
  const { temperature, topK, topP, minP } = sampling;
  const order = [...logits.keys()].sort((a, b) => (logits[b] ?? 0) - (logits[a] ?? 0));
  const kept = topK > 0 ? order.slice(0, topK) : order;
  const weight = (id: number) => Math.exp((logits[id] ?? 0) / temperature);
  const total = kept.reduce((sum, id) => sum + weight(id), 0);
  let sum = 0;
  const nucleus = kept.filter((id) => {
    const before = sum;
    sum += weight(id) / total;
    return before < topP && weight(id) >= minP * weight(kept[0] ?? 0);
  });
  const left = nucleus.reduce((all, id) => all + weight(id), 0);
  return [...logits.keys()].map((id) => (nucleus.includes(id) ? weight(id) / left : 0));
}

/** How far transitions are from their probabilities, in deviations of chi-square. */
function deviation(ids: readonly number[], sampling: SamplingOptions): number {
  const counts = chain.map(() => new Array<number>(vocabSize).fill(0));
  for (let i = 1; i < ids.length; i++) counts[ids[i - 1] ?? 0]![ids[i] ?? 0]!++;
  let [square, degrees] = [0, 0];
  for (const [token, row] of counts.entries()) {
    const total = row.reduce((sum, count) => sum + count, 0);
    const expected = probabilities(chain[token] ?? new Float32Array(), sampling);
    for (const [id, count] of row.entries()) {
      const wanted = total * (expected[id] ?? 0);
      if (wanted === 0 && count > 0) return Number.POSITIVE_INFINITY;
      if (wanted > 0) square += (count - wanted) ** 2 / wanted;
    }
    if (total > 0) degrees += expected.filter((each) => each > 0).length - 1;
  }
  return (square - degrees) / Math.sqrt(2 * degrees);
}

const samplers: readonly Partial<SamplingOptions>[] = [
  { temperature: 1 },
  { temperature: 0.8, topK: 5 },
  { temperature: 1.3, topP: 0.8 },
  { temperature: 1, topK: 6, topP: 0.95, minP: 0.1 },
];

for (const [i, some] of samplers.entries()) {
  const count = draws[i] ?? 0;
  test(`${count} draws are distributed as they should be: ${JSON.stringify(some)}`, async () => {
    const sampling = { ...greedy, topP: 1, ...some, seed: 4 };
    const { ids, figures } = await speculated(sampling, count, 4);
    const far = deviation(ids, sampling);
    assert.ok(Math.abs(far) < 4, `${far} deviations from chi-square's mean`);
    assert.ok(figures.accepted > count / 4 && figures.accepted < figures.proposed);
    // Not so what the draft alone would have made.
    assert.ok(deviation(draftAlone(sampling, count), sampling) > 20);
  });
}

function draftAlone(sampling: SamplingOptions, count: number): number[] {
  const sampler = new Sampler(sampling);
  const ids = [0];
  while (ids.length <= count) {
    ids.push(sampler.sample(Float32Array.from(roughly[ids.at(-1) ?? 0] ?? []), ids));
  }
  return ids;
}

test('a seed gives the same tokens, however many are proposed; penalties see what was accepted', async () => {
  for (const some of [...samplers, { temperature: 1, repetitionPenalty: 1.4 }]) {
    const sampling = { ...greedy, topP: 1, ...some, seed: 9 };
    const expected = alone(sampling, 400);
    for (const most of [1, 2, 5, 9]) {
      assert.deepEqual((await speculated(sampling, 400, most)).ids.slice(0, 401), expected);
    }
  }
});
