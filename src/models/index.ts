/** The families, one line each. */

import { InputError } from '../errors.ts';
import { opt } from './opt.ts';
import type { CheckpointFacts, Family, ModelRecipe } from './spec.ts';

const families: readonly Family[] = [opt];

/** Values of `model_type` that can be converted. */
export const supportedModelTypes = families.flatMap((family) => family.modelTypes);

/**
 * The recipe of a checkpoint, by its config's `model_type`.
 * @throws InputError that names an unsupported architecture and lists the supported ones
 */
export function recipeOf(facts: CheckpointFacts): ModelRecipe {
  const modelType = facts.config.model_type;
  const family = families.find(({ modelTypes }) => modelTypes.some((type) => type === modelType));
  if (family === undefined) {
    const found =
      typeof modelType === 'string'
        ? `model_type '${modelType}' is not supported`
        : 'no model_type';
    throw new InputError(
      found,
      { file: facts.configFile },
      `Supported architectures: ${supportedModelTypes.join(', ')}`,
    );
  }
  return family.recipe(facts);
}
