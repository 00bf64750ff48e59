/**
 * The bytes of a layer's experts, one record after the other. Each part of a record consists of rows of the
 * checkpoint in their order, so blocks are copied through without assembly.
 */

import { type FfnUnits, usedBytes } from '../flash/ffn-units.ts';
import type { ExpertsRecipe } from '../models/spec.ts';
import type { BlockBuffers } from './blocks.ts';
import { loadRows, type Sources } from './weights.ts';

export async function* expertBytes(
  work: BlockBuffers,
  { experts }: ExpertsRecipe,
  units: FfnUnits,
  sources: Sources,
): AsyncGenerator<Uint8Array> {
  const wanted = experts.flatMap((expert) =>
    units.parts.map(({ part, dtype, shape }) => {
      const { source = '', rows } = expert[part] ?? {};
      const [count, columns] = shape;
      const block = { row: rows?.first ?? 0, rows: count, column: 0, columns };
      return { source: sources(source), dtype, block, of: expert };
    }),
  );
  const padding = units.unitBytes - usedBytes(units);
  let expert = experts[0];
  for await (const { view, of } of loadRows(work, wanted)) {
    if (of !== expert && padding > 0) yield new Uint8Array(padding);
    expert = of;
    yield view;
  }
  if (padding > 0) yield new Uint8Array(padding);
}
