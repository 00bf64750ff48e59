/** Holds a checkpoint against the recipe of its family before a single weight is read. */

import { basename } from 'node:path';
import type { SourceTensor, TensorSource } from '../checkpoint/source.ts';
import { floatDTypes } from '../dtype.ts';
import { InputError } from '../errors.ts';
import { bundleRows, type ModelRecipe } from '../models/spec.ts';
import type { CheckedSource, Sources } from './weights.ts';

/**
 * Checks that every tensor the recipe needs is there, with its shape and a dtype we read, and that
 * the checkpoint holds nothing that the recipe does not know.
 * @throws InputError that names the tensor
 */
export function checkSources(
  recipe: ModelRecipe,
  source: TensorSource,
  configFile: string,
): Sources {
  const checked = new Map<string, CheckedSource>();
  const need = (name: string, shape: readonly number[]) => {
    checked.set(name, checkTensor(source.tensors.get(name), name, shape, configFile));
  };
  for (const tensor of recipe.tensors) {
    for (const part of tensor.parts) need(part.source, part.shape);
  }
  for (const bundle of recipe.bundles) {
    for (const rows of bundleRows(bundle)) need(rows, [bundle.neurons, bundle.hiddenSize]);
    need(bundle.down, [bundle.hiddenSize, bundle.neurons]);
  }
  const unknown = [...source.tensors.keys()].filter(
    (name) => !checked.has(name) && !recipe.ignored.includes(name),
  );
  if (unknown.length > 0) {
    const listed = unknown.slice(0, 3).join(', ');
    const more = unknown.length > 3 ? ` and ${unknown.length - 3} more` : '';
    throw new InputError(
      `the checkpoint holds tensors that ${basename(configFile)} does not account for: ${listed}${more}`,
      { file: configFile },
      'Check num_hidden_layers, tie_word_embeddings and whether there are biases (enable_bias, ' +
        'attention_bias, mlp_bias, bias) against the weights; adapters must be merged first',
    );
  }
  return (name) => {
    const found = checked.get(name);
    if (found === undefined) throw new Error(`${name} is not in the recipe`);
    return found;
  };
}

function checkTensor(
  tensor: SourceTensor | undefined,
  name: string,
  shape: readonly number[],
  configFile: string,
): CheckedSource {
  if (tensor === undefined) {
    throw new InputError(
      `the checkpoint has no tensor ${name}, which ${basename(configFile)} calls for`,
      { file: configFile },
      'The download may be incomplete, or its configuration is that of another model',
    );
  }
  const place = { file: tensor.file, tensor: tensor.name };
  if (tensor.shape.length !== shape.length || tensor.shape.some((n, axis) => n !== shape[axis])) {
    throw new InputError(
      `its shape is [${tensor.shape.join(', ')}], ${basename(configFile)} calls for [${shape.join(', ')}]`,
      place,
      `${basename(configFile)} and the weights contradict each other`,
    );
  }
  const dtype = floatDTypes.find((known) => known === tensor.dtype);
  if (dtype === undefined) {
    throw new InputError(
      `dtype ${tensor.dtype} cannot be converted`,
      place,
      `Supported: ${floatDTypes.join(', ')}`,
    );
  }
  return { tensor, dtype };
}
