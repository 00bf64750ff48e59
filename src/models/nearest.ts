/**
 * Describes a checkpoint of an unknown family: finds the supported family with the most similar tensors.
 */

import { InputError } from '../errors.ts';
import { some } from '../plain-text.ts';
import { ffnSources } from './ffn-sources.ts';
import type { CheckpointFacts, Family, ModelRecipe } from './spec.ts';

/** Parts of names that only recurrent layers have, such as Mamba, RWKV and linear attention. */
const recurrent =
  /\.(A_log|dt_bias|dt_proj|x_proj|conv1d|mamba|ssm|mixer|time_mix\w*|linear_attn|recurrent_block|rg_lru)(\.|$)/;

/**
 * A sentence about `facts`, whose family is none of `families`; null if there is nothing to say. Each name
 * stands for all layers: `model.layers.n.mlp.up_proj.weight`.
 */
export function nearestFamily(facts: CheckpointFacts, families: readonly Family[]): string | null {
  const found = kindsOf(facts.sourceNames);
  const states = [...found].filter((name) => recurrent.test(name));
  if (states.length > 0) {
    return `it has layers that keep a recurrent state (${some(states)}), which no supported family has`;
  }
  const likenesses = families.flatMap((family) => likeness(facts, family, found) ?? []);
  const [nearest] = likenesses.sort((a, b) => distance(a) - distance(b));
  if (nearest === undefined || distance(nearest) >= found.size) return null;
  const { modelType, lacks, more } = nearest;
  const differences = [
    ...(lacks.length === 0 ? [] : [`has no ${some(lacks)}`]),
    ...(more.length === 0 ? [] : [`also has ${some(more)}`]),
  ];
  const what = differences.length === 0 ? 'has the same tensors' : differences.join(' and ');
  return `the nearest supported one is '${modelType}': the checkpoint ${what}`;
}

interface Likeness {
  readonly modelType: string;
  /** Tensors of the family that the checkpoint does not have. */
  readonly lacks: readonly string[];
  /** Tensors of the checkpoint that the family does not have. */
  readonly more: readonly string[];
}

function distance({ lacks, more }: Likeness): number {
  return lacks.length + more.length;
}

function likeness(
  facts: CheckpointFacts,
  family: Family,
  found: ReadonlySet<string>,
): Likeness | null {
  const [modelType = ''] = family.modelTypes;
  try {
    const recipe = family.recipe({ ...facts, config: { ...facts.config, model_type: modelType } });
    const wanted = kindsOf(sourcesOf(recipe));
    const passed = kindsOf(recipe.ignored);
    return {
      modelType,
      lacks: [...wanted].filter((name) => !found.has(name)),
      more: [...found].filter((name) => !wanted.has(name) && !passed.has(name)),
    };
  } catch (error) {
    // A family that needs fields that this configuration lacks is not the nearest.
    if (error instanceof InputError) return null;
    throw error;
  }
}

function* sourcesOf(recipe: ModelRecipe): Generator<string> {
  const parts = recipe.tensors.flatMap((tensor) => tensor.parts);
  for (const { source } of [...parts, ...ffnSources(recipe)]) {
    yield recipe.views.get(source)?.source ?? source;
  }
}

/** Names with `n` for the numbers of layers and experts. */
function kindsOf(names: Iterable<string>): ReadonlySet<string> {
  return new Set(Array.from(names, (name) => name.replace(/(?<=\.)\d+(?=\.)/g, 'n')));
}
