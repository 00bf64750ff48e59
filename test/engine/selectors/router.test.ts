/** The router's choice and weights against the plainest account of them. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { WeightSelection } from '../../../src/engine/selection.ts';
import { Router, type Routing, route } from '../../../src/engine/selectors/router.ts';
import { Dice } from '../../support/random.ts';

/** What a row takes, by sorting everything. */
function expected(logits: readonly number[], routing: Routing): Map<number, number> {
  const { experts, topK, groups, correction } = routing;
  const most = Math.max(...logits);
  const exps = logits.map((logit) => Math.exp(logit - most));
  const total = exps.reduce((a, b) => a + b, 0);
  const scores =
    routing.score === 'softmax'
      ? exps.map((value) => value / total)
      : logits.map((logit) => 1 / (1 + Math.exp(-logit)));
  const merit = (expert: number) => (scores[expert] ?? 0) + (correction?.[expert] ?? 0);
  const byMerit = (a: number, b: number) => merit(b) - merit(a) || a - b;
  let ids = logits.map((_, expert) => expert);
  if (groups !== undefined) {
    const size = experts / groups.count;
    const sumOfBest = (group: number) =>
      ids
        .slice(group * size, (group + 1) * size)
        .sort(byMerit)
        .slice(0, groups.best)
        .reduce((sum, expert) => sum + merit(expert), 0);
    const kept = Array.from({ length: groups.count }, (_, group) => group)
      .sort((a, b) => sumOfBest(b) - sumOfBest(a) || a - b)
      .slice(0, groups.topK);
    ids = ids.filter((expert) => kept.includes(Math.floor(expert / size)));
  }
  const chosen = ids.sort(byMerit).slice(0, topK);
  const sum = chosen.reduce((all, expert) => all + (scores[expert] ?? 0), 0);
  return new Map(
    chosen.map((expert) => [
      expert,
      ((scores[expert] ?? 0) / (routing.normalise ? sum : 1)) * routing.scale,
    ]),
  );
}

test('each row takes its best experts, weighted by their scores', () => {
  const dice = new Dice(21);
  const into = new WeightSelection({ units: 24, rows: 5 });
  for (let round = 0; round < 500; round++) {
    const count = dice.pick([1, 2, 4]);
    const experts = count * dice.between(2, 6);
    const kept = dice.between(1, count);
    const grouped = dice.chance(0.5);
    const best = dice.pick([1, 2]);
    const routing: Routing = {
      experts,
      topK: dice.between(1, grouped ? (experts / count) * kept : experts),
      score: dice.pick(['softmax', 'sigmoid']),
      normalise: dice.chance(0.5),
      scale: dice.pick([1, 2.5]),
      ...(grouped && { groups: { count, topK: kept, best } }),
      ...(dice.chance(0.5) && {
        correction: Float32Array.from({ length: experts }, () => dice.next() - 0.5),
      }),
    };
    const rows = dice.between(1, 5);
    const values = () => Math.fround(dice.next() * 20 - 10);
    const logits = Float32Array.from({ length: rows * experts }, values);
    const selection = new Router(routing, () => logits).select(
      { layer: 0, x: 0, residual: 0, positions: rows },
      into,
    );
    const union = new Set<number>();
    for (let row = 0; row < rows; row++) {
      const own = [...logits.subarray(row * experts, (row + 1) * experts)];
      const weights = expected(own, routing);
      assert.equal(weights.size, routing.topK);
      for (let expert = 0; expert < experts; expert++) {
        const weight = selection.weights[row * experts + expert] ?? Number.NaN;
        const wanted = weights.get(expert) ?? 0;
        assert.ok(Math.abs(weight - wanted) <= 1e-6 * Math.abs(wanted), `${weight} for ${wanted}`);
        if (weight !== 0) union.add(expert);
      }
    }
    assert.deepEqual(
      [...selection.units],
      [...union].sort((a, b) => a - b),
    );
  }
});

test('logits beyond the range of exp do no harm, and NaN is refused', () => {
  const routing: Routing = { experts: 3, topK: 2, score: 'softmax', normalise: true, scale: 1 };
  const into = new WeightSelection({ units: 3, rows: 1 });
  const { weights } = route(Float32Array.of(3e38, 3e38, -3e38), 1, routing, into);
  assert.deepEqual([...weights], [0.5, 0.5, 0]);
  assert.throws(() => route(Float32Array.of(0, Number.NaN, 1), 1, routing, into), RangeError);
});

test('more experts than there are, or rows than there is room for, are refused', () => {
  const into = new WeightSelection({ units: 4, rows: 2 });
  const routing: Routing = { experts: 4, topK: 5, score: 'softmax', normalise: true, scale: 1 };
  assert.throws(() => route(new Float32Array(4), 1, routing, into), /take 5 of 4/);
  const fewGroups = { ...routing, topK: 3, groups: { count: 2, topK: 1, best: 1 } };
  assert.throws(() => route(new Float32Array(4), 1, fewGroups, into), /take 3 of 2/);
  assert.throws(() => route(new Float32Array(12), 3, { ...routing, topK: 1 }, into), /no room/);
});
