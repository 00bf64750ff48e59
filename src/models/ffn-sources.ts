/** Iterates over the checkpoint matrices of FFNs and experts. */

import { bundleRows, type ExpertsRecipe, type ModelRecipe, type TensorPart } from './spec.ts';

/** A matrix, or several stacked ones, as in the checkpoint. */
type FfnSource = Pick<TensorPart, 'source' | 'shape'>;

/** Names of the parts of an FFN that a recipe has sources for. */
const parts = ['gate', 'up', 'down'] as const;

/** The sources of an FFN's gate, up and down matrices, for each expert of a layer. */
export function partsOfExperts({ experts }: ExpertsRecipe): readonly (readonly TensorPart[])[] {
  return parts.map((part) => experts.flatMap((expert) => expert[part] ?? []));
}

/** All FFN sources of a recipe, each with its required shape; a name may occur several times. */
export function* ffnSources({
  bundles,
  experts,
}: Pick<ModelRecipe, 'bundles' | 'experts'>): Generator<FfnSource> {
  for (const bundle of bundles) {
    const { neurons, hiddenSize, down } = bundle;
    for (const source of bundleRows(bundle)) yield { source, shape: [neurons, hiddenSize] };
    yield { source: down, shape: [hiddenSize, neurons] };
  }
  for (const layer of experts) yield* partsOfExperts(layer).flat();
}
