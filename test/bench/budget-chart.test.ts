/** The chart over budgets: what is faster stands higher, and names cannot break it. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type BudgetLine, budgetSvg } from '../../src/bench/budget-chart.ts';

const point = (budgetBytes: number, median: number) => ({
  budgetBytes,
  median,
  low: 0.9 * median,
  high: 1.1 * median,
});
const lines: readonly BudgetLine[] = [
  { name: 'with <predictors>', points: [point(1e9, 4), point(2e9, 10)] },
  { name: '--exact', points: [point(1e9, 2), point(2e9, 8)] },
];

/** (x, y) of the lines' points. */
function pointsOf(svg: string): number[][][] {
  return [...svg.matchAll(/<polyline [^>]*points="([^"]+)"/g)].map(([, list = '']) =>
    list.split(' ').map((pair) => pair.split(',').map(Number)),
  );
}

test('a line for each way: budgets go to the right, tokens per second up', () => {
  const svg = budgetSvg(lines, { title: 'a & b', notes: ['one note'] });
  const [sparse = [], exact = []] = pointsOf(svg);
  assert.equal(sparse.length, 2);
  for (const [i, [x = 0, y = 0]] of sparse.entries()) {
    const [otherX = 0, otherY = 0] = exact[i] ?? [];
    assert.equal(x, otherX);
    assert.ok(y < otherY, 'faster stands higher');
  }
  const [[left = 0, low = 0] = [], [right = 0, high = 0] = []] = sparse;
  assert.ok(left < right && high < low);
  assert.ok(svg.includes('with &lt;predictors&gt;') && svg.includes('a &amp; b'));
  assert.ok(!/NaN|undefined/.test(svg));
});

test('heights are in proportion from 0 on', () => {
  const svg = budgetSvg(lines, { title: '', notes: [] });
  const [[[, four = 0] = [], [, ten = 0] = []] = [], [[, two = 0] = [], [, eight = 0] = []] = []] =
    pointsOf(svg);
  const unit = (two - eight) / 6;
  assert.ok(Math.abs((four - ten) / 6 - unit) < 0.2);
  assert.ok(Math.abs(two - four - 2 * unit) < 0.2);
});
