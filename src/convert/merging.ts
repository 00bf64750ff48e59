/** Merges adapters into a checkpoint before it is converted. */

import { type Adapter, openAdapter } from '../checkpoint/lora/adapter.ts';
import { headTensor, type MergedSource, mergeAdapters } from '../checkpoint/lora/merged-source.ts';
import type { TensorSource } from '../checkpoint/source.ts';
import { recipeOf } from '../models/index.ts';
import { type ModelRecipe, tensorNames } from '../models/spec.ts';
import { type Described, untied } from './adaptation.ts';

/**
 * Opens the adapters in the directories `dirs`; close them when done.
 * @throws InputError when one of them cannot be used, whatever the model
 */
export async function openAdapters(dirs: readonly string[]): Promise<readonly Adapter[]> {
  const adapters: Adapter[] = [];
  try {
    for (const dir of dirs) adapters.push(await openAdapter(dir));
    return adapters;
  } catch (error) {
    await Promise.all(adapters.map((adapter) => adapter.close()));
    throw error;
  }
}

/**
 * Merges adapters into the tensors of the checkpoint `described`.
 * @returns the changed description, and the tensors, which are read from `source` and the adapters
 * @throws InputError when an adapter does not fit
 */
export function mergeInto(
  source: TensorSource,
  described: Described,
  adapters: readonly Adapter[],
): Described & { readonly source: MergedSource } {
  const { facts, recipe, tensors } = withEmbedding(source, described);
  const merged = mergeAdapters({ ...source, tensors }, recipe, adapters);
  const config = merged.untied ? untied(facts.config) : facts.config;
  const known = { ...facts, config, sourceNames: new Set(merged.tensors.keys()) };
  return { source: merged, facts: known, recipe: recipeOf(known) };
}

/**
 * Adds the embedding under its own name where it is stored only under the name of the head: adapters may
 * name both, and may change one without the other.
 */
function withEmbedding(
  { tensors }: TensorSource,
  described: Described,
): Described & Pick<TensorSource, 'tensors'> {
  const { facts, recipe } = described;
  const table = tensors.get(headTensor);
  if (table === undefined || embeddingOf(recipe) !== headTensor) return { ...described, tensors };
  const name = embeddingOf(recipeOf({ ...facts, config: untied(facts.config) }));
  const all = new Map(tensors).set(name, table);
  const known = { ...facts, sourceNames: new Set(all.keys()) };
  return { facts: known, recipe: recipeOf(known), tensors: all };
}

function embeddingOf({ tensors }: ModelRecipe): string {
  return tensors.find(({ name }) => name === tensorNames.tokens)?.parts[0]?.source ?? '';
}
