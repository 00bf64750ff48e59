/**
 * The rows that go through the model in one pass: rows of one sequence or of many, prompts and single tokens
 * mixed. A row's result depends on its own sequence alone, whatever else is in the batch.
 */

import type { PageList } from '../residency/kv-pages.ts';
import { isEachWanted, type LogitsWanted } from './forward-options.ts';
import type { BestLogits } from './sampler.ts';

/** Rows of one sequence, one after the other. */
export interface BatchPart {
  readonly pages: PageList;
  readonly ids: readonly number[];
  /** The position of the first; those before it are in the cache. */
  readonly start: number;
  readonly wanted: LogitsWanted;
}

/** A row whose logits are wanted. */
export interface LogitsRow {
  readonly row: number;
  readonly wanted: 'last' | 'all' | BestLogits;
}

/** The number of a part's rows whose logits are computed. */
export function logitsCount({ wanted, ids }: Pick<BatchPart, 'wanted' | 'ids'>): number {
  if (wanted === 'none') return 0;
  return wanted === 'all' || isEachWanted(wanted) ? ids.length : 1;
}

/** Which logits of one of a part's rows are wanted. */
function wantedOfRow(
  wanted: LogitsWanted,
  row: number,
  rows: number,
): 'none' | LogitsRow['wanted'] {
  if (wanted === 'none' || wanted === 'all') return wanted;
  if (isEachWanted(wanted)) return wanted.each[row] ?? 'none';
  return row === rows - 1 ? wanted : 'none';
}

export class Batch {
  readonly parts: readonly BatchPart[];
  /** (rows) each. */
  readonly ids: readonly number[];
  readonly positions: Uint32Array;
  /** More than any row's position. */
  readonly length: number;
  /** In the order of rows. */
  readonly logits: readonly LogitsRow[];

  constructor(parts: readonly BatchPart[]) {
    this.parts = parts;
    this.ids = parts.length === 1 ? (parts[0]?.ids ?? []) : parts.flatMap(({ ids }) => ids);
    this.positions = new Uint32Array(this.ids.length);
    this.length = Math.max(...parts.map(({ start, ids }) => start + ids.length));
    const logits: LogitsRow[] = [];
    let row = 0;
    for (const { ids, start, wanted } of parts) {
      ids.forEach((_, i) => {
        this.positions[row] = start + i;
        const of = wantedOfRow(wanted, i, ids.length);
        if (of !== 'none') logits.push({ row, wanted: of });
        row++;
      });
    }
    this.logits = logits;
  }

  get rows(): number {
    return this.ids.length;
  }
}
