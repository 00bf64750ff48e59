/**
 * The bytes of a layer's experts, one record after the other. Each part of a record is rows of the
 * checkpoint as they come, so nothing is put together: blocks pass through.
 */

import type { FfnUnits } from '../flash/ffn-units.ts';
import type { ExpertsRecipe } from '../models/spec.ts';
import type { BlockBuffers } from './blocks.ts';
import { loadRows, type Sources } from './weights.ts';

export async function* expertBytes(
  work: BlockBuffers,
  { experts }: ExpertsRecipe,
  units: FfnUnits,
  sources: Sources,
): AsyncGenerator<Uint8Array> {
  for (const expert of experts) {
    let written = 0;
    for (const { part, dtype, shape } of units.parts) {
      const { source = '', rows } = expert[part] ?? {};
      const [count, columns] = shape;
      const wanted = { row: rows?.first ?? 0, rows: count, column: 0, columns };
      for await (const { view } of loadRows(work, sources(source), dtype, wanted)) {
        yield view;
        written += view.length;
      }
    }
    if (written < units.unitBytes) yield new Uint8Array(units.unitBytes - written);
  }
}
