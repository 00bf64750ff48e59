/** What is said of the choice between predictors and every neuron computed, and of experts left out. */

import { type ModelSpec, takesFewer } from '../models/spec.ts';
import type { FfnChoice, FfnWay, LayerChoice } from '../plan/ffn-way.ts';
import type { MemoryPlan } from '../plan/memory-plan.ts';
import { formatBytes, formatMs } from '../units.ts';
import { note, table } from './terminal.ts';

const meanings: Readonly<Record<FfnWay, string>> = {
  chosen: 'neurons that are wanted and missing',
  whole: 'all that is missing: what is wanted lies too densely',
  exact: 'all rows, every neuron computed',
};

/** Says in one line why predictors are left aside, where a plan does so. */
export function noteChoice({ choice, dramBudget }: MemoryPlan): void {
  if (choice === null || choice.sparse) return;
  const { sparseMs, exactMs } = choice;
  note(
    `predictors do not pay at ${formatBytes(dramBudget)}: about ${formatMs(sparseMs)} per token with them, ` +
      `${formatMs(exactMs)} with every neuron computed, so every neuron is computed`,
  );
}

/**
 * Says that the output is another one, where a token takes fewer experts than the model was trained with.
 * @returns whether it is
 */
export function noteFewerExperts(spec: ModelSpec, asked: number | undefined): boolean {
  const { experts } = spec.ffn;
  if (experts === undefined || !takesFewer(spec, asked)) return false;
  const { topK, count } = experts;
  note(
    `${asked} of ${count} experts for each token in place of ${topK}: the output is not the model's`,
  );
  return true;
}

/** A row for each range of layers that are read in the same way, and the choice between both. */
export function choiceTable({ sparse, sparseMs, exactMs, layers }: FfnChoice): string {
  const rows = rangesOf(layers).map(({ first, last, way }) => {
    const some = layers.slice(first, last + 1);
    const mean = (key: 'sparseMs' | 'exactMs') =>
      formatMs(some.reduce((sum, layer) => sum + layer[key], 0) / some.length);
    const name = first === last ? `${first}` : `${first}-${last}`;
    return [name, meanings[way], mean('sparseMs'), mean('exactMs')];
  });
  const head = ['FFN of layers', 'a token reads', 'with predictors', 'without'];
  return (
    `${table(head, rows)}\n` +
    `Expected per token: ${formatMs(sparseMs)} with predictors, ${formatMs(exactMs)} with every neuron ` +
    `computed; predictors are ${sparse ? 'used' : 'not used'}.\n`
  );
}

function rangesOf(layers: readonly LayerChoice[]) {
  const ranges: { first: number; last: number; way: FfnWay }[] = [];
  for (const [index, { way }] of layers.entries()) {
    const range = ranges.at(-1);
    if (range?.way === way) range.last = index;
    else ranges.push({ first: index, last: index, way });
  }
  return ranges;
}
