/**
 * Keeps the formats of a checkpoint that is quantised, or has several: decides which of its tensors stay as they are, and how the
 * recipe must change for that. A tensor of the model directory has one format; of the tensors that recipes
 * stack, only query, key and value projections may have several formats in a file.
 */

import { type DType, type FloatDType, floatDTypes, formats } from '../dtype.ts';
import { tileNeurons } from '../flash/ffn-units.ts';
import { quantisable } from '../flash/layout.ts';
import { partsOfExperts } from '../models/ffn-sources.ts';
import { bundleRows, type ModelRecipe, type TensorRecipe } from '../models/spec.ts';
import { fusedLayers, separateProjections } from '../models/spec-tensors.ts';
import type { CheckedSource, Sources } from './weights.ts';

/** Formats by the names of checkpoint tensors. */
export type KeptFormats = ReadonlyMap<string, DType>;

/**
 * The kept formats of all matrices except those of FFNs. A tensor whose values are computed while it is
 * read, such as one with a merged adapter, has no kept format unless it stores single values.
 */
export function keptResident(recipe: ModelRecipe, sources: Sources): KeptFormats {
  const names = quantisable(recipe).flatMap(({ parts }) => parts.map(({ source }) => source));
  return kept(names, sources);
}

/** The same for FFNs that all tokens use. */
export function keptFfns({ bundles }: ModelRecipe, sources: Sources): KeptFormats {
  const names = bundles.flatMap((bundle) => [...bundleRows(bundle), bundle.down]);
  return kept(names, sources);
}

/** The same for experts. All experts of a layer need one format, because they share one layout. */
export function keptExperts({ experts }: ModelRecipe, sources: Sources): KeptFormats {
  const names = experts.flatMap(partsOfExperts).flatMap((part) => {
    const own = [...new Set(part.map(({ source }) => source))];
    const found = new Set(own.map((name) => keptFormat(sources(name))));
    return found.size === 1 ? own : [];
  });
  return kept(names, sources);
}

function kept(names: readonly string[], sources: Sources): KeptFormats {
  return new Map(
    names.flatMap((name) => {
      const dtype = keptFormat(sources(name));
      return dtype === null ? [] : [[name, dtype] as const];
    }),
  );
}

function keptFormat(source: CheckedSource): DType | null {
  const { tensor } = source;
  if (tensor.blocks !== undefined) return tensor.blocks.dtype;
  if (tensor.exactAs !== undefined) return tensor.exactAs;
  return tensor.storedAs === undefined ? exactDType(source) : null;
}

/** The dtype that keeps the values of a matrix that is not quantised. */
export function exactDType({ tensor, dtype }: CheckedSource): FloatDType {
  return floatDTypes.find((known) => known === tensor.keptAs) ?? dtype;
}

/**
 * Whether FFNs can be cut into tiles of whole blocks.
 * @param formatOf the format of a checkpoint tensor
 */
export function canBeTiled({ bundles }: ModelRecipe, formatOf: (source: string) => DType): boolean {
  return bundles.every(({ neurons, down }) => {
    const { blockElements } = formats[formatOf(down)];
    return tileNeurons(neurons, blockElements, 0) !== null;
  });
}

/** The recipe with query, key and value projections as tensors of their own where their formats differ. */
export function apartByFormat(
  recipe: ModelRecipe,
  formatOf: (source: string) => DType,
): ModelRecipe {
  const fused = fusedLayers(recipe.spec);
  const tensors = recipe.tensors.flatMap((tensor): readonly TensorRecipe[] => {
    const layer = fused.get(tensor.name);
    const several = new Set(tensor.parts.map(({ source }) => formatOf(source))).size > 1;
    if (layer === undefined || !several) return [tensor];
    const parts = [...tensor.parts];
    return separateProjections(recipe.spec, layer).map(({ name, rows }) => {
      const own: (typeof parts)[number][] = [];
      for (let found = 0; found < rows; ) {
        const part = parts.shift();
        if (part === undefined) throw new Error(`${tensor.name} has too few rows`);
        found += part.rows?.count ?? part.shape[0] ?? 0;
        own.push(part);
      }
      return { name, shape: [rows, ...tensor.shape.slice(1)], parts: own };
    });
  });
  return { ...recipe, tensors };
}
