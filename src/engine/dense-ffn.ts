/**
 * FFNs in which every row computes all units: resident ones where they lie, streamed ones as they are read.
 */

import type { FfnUnits } from '../flash/ffn-units.ts';
import type { ModelFiles } from '../flash/model-files.ts';
import { memoryOf } from '../residency/packing.ts';
import type { Weights } from '../residency/weights.ts';
import type { AllActivations } from './all-activations.ts';
import type { Arena } from './arena.ts';
import type { BegunFfn, Ffn, FfnCounts, FfnOutput } from './ffn.ts';
import type { FfnHook } from './ffn-hook.ts';
import type { FfnInput } from './selection.ts';
import { WaitingDowns } from './waiting-downs.ts';

const f32Bytes = 4;

export interface DenseParts {
  readonly files: ModelFiles;
  /** The plan's memories: the first, then its arenas. */
  readonly arenas: readonly [Arena, ...Arena[]];
  readonly weights: Weights;
  /** (sumRows, hidden) in the first memory: see Activations. */
  readonly sums: number;
  /** For models whose down projection waits for the activations of all neurons. */
  readonly all: AllActivations | null;
}

export class DenseFfn implements Ffn {
  readonly #parts: DenseParts;

  constructor(parts: DenseParts) {
    this.#parts = parts;
  }

  begin(input: FfnInput, hook?: FfnHook): BegunFfn {
    hook?.input(input);
    return {
      finish: async (output) => {
        const counts = { neurons: 0, active: 0 };
        for (const units of this.#parts.files.manifest.ffns[input.layer] ?? []) {
          const { neurons, active } = await this.compute(units, input, output, hook);
          counts.neurons += neurons;
          counts.active += active;
        }
        return counts;
      },
      abandon: async () => {},
    };
  }

  /** y += the contributions of all units of an FFN. */
  async compute(
    units: FfnUnits,
    { layer, x, positions }: FfnInput,
    output: FfnOutput,
    hook?: FfnHook,
  ): Promise<FfnCounts> {
    const { files, arenas, weights, sums, all } = this.#parts;
    const { hiddenSize: hidden, ffn } = files.manifest.spec;
    const [{ memory, kernels }] = arenas;
    let [neurons, active] = [0, 0];
    new Uint8Array(memory.buffer, sums, positions * hidden * f32Bytes).fill(0);
    const task = { units, ffn, x, ...output, sums, hidden, positions, hook };
    const waiting = all === null ? null : new WaitingDowns(task, all, this.#parts);
    await weights.eachRows(files.tensor(units.tensor), (rows) => {
      const arena = memoryOf(arenas, rows.arena);
      neurons += rows.count * units.k * positions;
      active += arena.ffn({ ...task, rows, ...waiting?.next(rows) });
    });
    waiting?.finish(layer);
    // The sum of a last group that is incomplete.
    kernels.add(output.y, sums, positions * hidden);
    return { neurons, active };
  }
}
