import assert from 'node:assert/strict';
import { test } from 'node:test';
import { greedy, Sampler } from '../../src/engine/sampler.ts';
import type { SamplingOptions } from '../../src/engine/sampling-options.ts';
import { StopStrings } from '../../src/engine/stop-strings.ts';
import { Dice } from '../support/random.ts';

const logits = () => Float32Array.of(1, 4, 2, 3.5, -1);

/** How often each token is drawn in `draws`. */
function frequencies(options: Partial<SamplingOptions>, draws = 20_000): number[] {
  const sampler = new Sampler({ ...greedy, temperature: 1, seed: 5, ...options });
  const counts = [0, 0, 0, 0, 0];
  for (let i = 0; i < draws; i++) {
    const id = sampler.sample(logits(), []);
    counts[id] = (counts[id] ?? 0) + 1 / draws;
  }
  return counts;
}

function softmax(values: readonly number[]): number[] {
  const weights = values.map((value) => Math.exp(value));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  return weights.map((weight) => weight / total);
}

function assertClose(actual: readonly number[], expected: readonly number[]): void {
  for (const [index, value] of expected.entries()) {
    assert.ok(Math.abs((actual[index] ?? 0) - value) < 0.015, `${actual} is not ${expected}`);
  }
}

test('temperature 0 takes the most likely token, the first of equals', () => {
  const sampler = new Sampler(greedy);
  assert.equal(sampler.sample(logits(), []), 1);
  assert.equal(sampler.sample(Float32Array.of(0, 2, 2), []), 1);
});

test('draws follow the distribution', () => {
  assertClose(frequencies({}), softmax([1, 4, 2, 3.5, -1]));
  assertClose(frequencies({ temperature: 2 }), softmax([0.5, 2, 1, 1.75, -0.5]));
});

test('top-k, top-p and min-p cut the tail', () => {
  const [three = 0, four = 0] = softmax([3.5, 4]);
  const two = [0, four, 0, three, 0];
  assertClose(frequencies({ topK: 2 }), two);
  assertClose(frequencies({ topK: 1 }), [0, 1, 0, 0, 0]);
  assertClose(frequencies({ topP: 0.8 }), two);
  assertClose(frequencies({ topP: 1e-9 }), [0, 1, 0, 0, 0]);
  assertClose(frequencies({ minP: 0.5 }), two);
  assertClose(frequencies({ minP: 1 }), [0, 1, 0, 0, 0]);
});

test('the repetition penalty lowers tokens seen, once each, of either sign', () => {
  const sampler = new Sampler({ ...greedy, repetitionPenalty: 2 });
  const values = logits();
  assert.equal(sampler.sample(values, [1, 1, 4]), 3);
  assert.deepEqual([...values], [1, 2, 2, 3.5, -2]);
});

test('a seed gives the same draws, another gives others', () => {
  const draw = (seed: number) => {
    const sampler = new Sampler({ ...greedy, temperature: 1, seed });
    return Array.from({ length: 50 }, () => sampler.sample(logits(), []));
  };
  assert.deepEqual(draw(1), draw(1));
  assert.notDeepEqual(draw(1), draw(2));
});

test('options out of range are refused by name', () => {
  for (const [options, message] of [
    [{ temperature: -1 }, /temperature must be at least 0, not -1/],
    [{ topP: 0 }, /top-p must be above 0 and at most 1, not 0/],
    [{ topK: 1.5 }, /top-k must be a whole number/],
    [{ minP: 2 }, /min-p must be from 0 to 1/],
    [{ repetitionPenalty: 0 }, /repetition penalty must be above 0/],
    [{ seed: -1 }, /seed must be a whole number/],
  ] as const) {
    assert.throws(() => new Sampler({ ...greedy, ...options }), { name: 'InputError', message });
  }
});

test('text ends before the first stop string, however it is cut into pieces', () => {
  const dice = new Dice(8);
  const text = 'ab<end>cd<stop>ef';
  for (const stops of [['<stop>', '<end>'], ['<end>'], ['<stop>'], ['zz'], ['f'], ['a']]) {
    const ends = stops.map((stop) => text.indexOf(stop)).filter((at) => at >= 0);
    const expected = ends.length === 0 ? text : text.slice(0, Math.min(...ends));
    for (let round = 0; round < 50; round++) {
      const stop = new StopStrings(stops);
      let out = '';
      for (let at = 0; at < text.length && !stop.found; ) {
        const length = dice.between(1, 5);
        out += stop.push(text.slice(at, at + length));
        at += length;
      }
      out += stop.flush();
      assert.equal(out, expected);
      assert.equal(stop.found, ends.length > 0);
    }
  }
});
