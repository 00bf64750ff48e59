/**
 * A quantised checkpoint's own formats, kept: which of its tensors stay as they are, and what that asks
 * of the recipe. A tensor of the model directory has one format; of what recipes stack, query, key and
 * value projections are the ones that files may have in several.
 */

import { type DType, floatDTypes, formats } from '../dtype.ts';
import { tileNeurons } from '../flash/ffn-units.ts';
import { partsOfExperts } from '../models/ffn-sources.ts';
import {
  bundleRows,
  isRouter,
  type ModelRecipe,
  type TensorRecipe,
  tensorNames,
} from '../models/spec.ts';
import { fusedProjection, separateProjections } from '../models/spec-tensors.ts';
import type { CheckedSource, Sources } from './weights.ts';

/** Formats by the names of checkpoint tensors. */
export type KeptFormats = ReadonlyMap<string, DType>;

/**
 * The formats in which matrices stay. A tensor whose values are computed in reading, as with an adapter
 * merged into it, has none, unless it is of single values.
 * @param ffns whether those of FFNs for all tokens stay, too
 * @param experts whether those of experts do
 */
export function keptFormats(
  recipe: ModelRecipe,
  sources: Sources,
  { ffns, experts }: { readonly ffns: boolean; readonly experts: boolean },
): KeptFormats {
  const kept = new Map<string, DType>();
  const keep = (name: string) => {
    const dtype = keptFormat(sources(name));
    if (dtype !== null) kept.set(name, dtype);
  };
  for (const { name, parts, shape } of recipe.tensors) {
    if (shape.length === 1 || name === tensorNames.positions || isRouter(name)) continue;
    for (const { source } of parts) keep(source);
  }
  for (const bundle of ffns ? recipe.bundles : []) {
    for (const name of [...bundleRows(bundle), bundle.down]) keep(name);
  }
  for (const part of (experts ? recipe.experts : []).flatMap(partsOfExperts)) {
    // Experts of a layer are laid alike.
    const names = new Set(part.map(({ source }) => source));
    const found = new Set([...names].map((name) => keptFormat(sources(name))));
    if (found.size === 1) for (const name of names) keep(name);
  }
  return kept;
}

function keptFormat({ tensor, dtype }: CheckedSource): DType | null {
  if (tensor.blocks !== undefined) return tensor.blocks.dtype;
  if (tensor.storedAs !== undefined) return null;
  return floatDTypes.find((known) => known === tensor.keptAs) ?? dtype;
}

/**
 * Whether FFNs can be cut into tiles in which their weights stay in their blocks.
 * @param other the format of what does not stay
 */
export function canBeTiled(recipe: ModelRecipe, sources: Sources, other: DType): boolean {
  return recipe.bundles.every(({ neurons, down }) => {
    const { blockElements } = formats[keptFormat(sources(down)) ?? other];
    return tileNeurons(neurons, blockElements, 0) !== null;
  });
}

/** The recipe with query, key and value projections as tensors of their own where their formats differ. */
export function apartByFormat(
  recipe: ModelRecipe,
  formatOf: (source: string) => DType,
): ModelRecipe {
  const layers = Array.from({ length: recipe.spec.layers }, (_, layer) => layer);
  const fused = new Map(layers.map((layer) => [fusedProjection(recipe.spec, layer).name, layer]));
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
