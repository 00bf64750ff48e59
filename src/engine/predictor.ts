/** The selectors of a model with predictors: one for each layer, and the weights that they share. */

import { positiveF16 } from '../dtype.ts';
import type { ModelFiles } from '../flash/model-files.ts';
import { predictorWeights, type StoredPredictor } from '../flash/predictor-file.ts';
import type { Kernels } from '../kernels/kernels.ts';
import type { ModelSpec } from '../models/spec.ts';
import { createBuffer } from '../pages.ts';
import { type PredictorDemand, predictorSpan, vectorSpan } from '../plan/fixed-layout.ts';
import type { MemoryPlan, PredictorPlan } from '../plan/memory-plan.ts';
import type { BitSelection, FfnInput, Selector } from './selection.ts';
import { AllUnits } from './selectors/all-units.ts';
import {
  PredictedUnits,
  type PredictorRoom,
  UnitsAboveThreshold,
} from './selectors/predicted-units.ts';

export class Predictor implements Selector<BitSelection> {
  readonly #memory: WebAssembly.Memory;
  readonly #plan: PredictorPlan;
  /** One for each layer. */
  readonly #selectors: readonly Selector<BitSelection>[];

  /** @param memory the first memory, where predictors and their scratch lie */
  constructor(
    memory: WebAssembly.Memory,
    kernels: Kernels,
    plan: MemoryPlan,
    { hiddenSize, ffn }: Pick<ModelSpec, 'hiddenSize' | 'ffn'>,
  ) {
    const { predictors, activations, chunk } = plan;
    if (predictors === null) throw new Error('the plan has no predictors');
    if (activations.lists === null) throw new Error('the plan has no room for lists');
    this.#memory = memory;
    this.#plan = predictors;
    const { set, address, layers } = predictors;
    const room: PredictorRoom = {
      ...{ memory, kernels, chunk, hidden: hiddenSize, dtype: set.dtype },
      base: address - (predictorSpan(set)?.start ?? 0),
      scratch: activations.scratch,
      work: activations.lists,
    };
    const selectorOf = (predictor: StoredPredictor | null, units: number) => {
      if (predictor === null) return new AllUnits(units);
      const { magnitude } = predictor;
      if (magnitude === undefined) return new PredictedUnits(room, predictor, units);
      return new UnitsAboveThreshold(room, { ...predictor, magnitude }, units, ffn.activation);
    };
    this.#selectors = layers.map(({ neurons }, layer) =>
      selectorOf(set.layers[layer] ?? null, neurons),
    );
  }

  /** Reads the weights to their addresses in the plan. */
  async load(files: ModelFiles): Promise<void> {
    const { set, address } = this.#plan;
    const span = predictorSpan(set);
    if (span === null) return;
    await files.readTensors(predictorWeights(set), span, this.#memory, address);
  }

  select(input: FfnInput, into: BitSelection): BitSelection {
    const selector = this.#selectors[input.layer];
    if (selector === undefined) throw new RangeError(`layer ${input.layer} has no selector`);
    return selector.select(input, into);
  }
}

/** The predictors as a plan needs them, frequencies read; null where there are none. */
export async function predictorDemand(files: ModelFiles): Promise<PredictorDemand | null> {
  const { predictors: set, manifest } = files;
  if (set === null) return null;
  const tensors = set.layers.flatMap((layer) => layer?.frequency ?? []);
  const span = vectorSpan(tensors);
  // The buffer can be freed as soon as the values are copied.
  const memory = createBuffer(span?.bytes ?? 0);
  if (span !== null) await files.readTensors(tensors, span, memory, 0);
  const layers = manifest.layers.map(({ neurons }, index) => {
    const tensor = set.layers[index]?.frequency;
    const frequency =
      tensor === undefined || span === null
        ? new Float32Array(neurons).fill(1)
        : Float32Array.from(
            new Uint16Array(memory.buffer, tensor.offset - span.start, neurons),
            positiveF16,
          );
    return { neurons, frequency };
  });
  return { set, layers };
}
