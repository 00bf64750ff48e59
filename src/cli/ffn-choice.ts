/** Notes about the choice between predictors and computing every neuron, and about using fewer experts. */

import { type ModelSpec, takesFewer } from '../models/spec.ts';
import type { FfnChoice, FfnWay, LayerChoice } from '../plan/ffn-way.ts';
import type { MemoryPlan } from '../plan/memory-plan.ts';
import { formatBytes, formatMs } from '../units.ts';
import { table } from './table.ts';
import { note } from './terminal.ts';

const meanings: Readonly<Record<FfnWay, string>> = {
  chosen: 'predicted neurons that are not in DRAM',
  whole: 'all neurons that are not in DRAM: the predicted ones are too dense',
  exact: 'all rows: every neuron is computed',
};

/** Prints one line that says why predictors are not used, if the plan does not use them. */
export function noteChoice({ choice, dramBudget }: MemoryPlan): void {
  if (choice === null || choice.sparse) return;
  const { sparseMs, exactMs } = choice;
  if (sparseMs < exactMs) {
    note('predictors do not pay without the draft, so every neuron is computed with it, too');
    return;
  }
  note(
    `predictors do not pay at ${formatBytes(dramBudget)}: about ${formatMs(sparseMs)} per token with them, ` +
      `${formatMs(exactMs)} with every neuron computed, so every neuron is computed`,
  );
}

/**
 * Prints a note if a token takes fewer experts than the model was trained with, as the output then differs.
 * @returns whether it does
 */
export function noteFewerExperts(spec: ModelSpec, asked: number | undefined): boolean {
  const { experts } = spec.ffn;
  if (experts === undefined || !takesFewer(spec, asked)) return false;
  const { topK, count } = experts;
  note(
    `each token uses ${asked} of ${count} experts instead of ${topK}: the output differs from the full model's`,
  );
  return true;
}

/** A row for each range of layers that are read in the same way, and the choice with its expected times. */
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
