/** Checks a checkpoint against the recipe of its family before any weight is read. */

import { basename } from 'node:path';
import { reorderedRows } from '../checkpoint/derived-tensor.ts';
import type { SourceTensor, TensorSource } from '../checkpoint/source.ts';
import { transposedMatrix } from '../checkpoint/transposed-tensor.ts';
import { unitRows } from '../checkpoint/unit-rows.ts';
import { floatDTypes } from '../dtype.ts';
import { InputError } from '../errors.ts';
import { ffnSources } from '../models/ffn-sources.ts';
import type { ModelRecipe, SourceView } from '../models/spec.ts';
import { some } from '../plain-text.ts';
import { formatOf } from './dtypes.ts';
import { isBuffer, isOtherHead } from './leftovers.ts';
import type { CheckedSource, Sources } from './weights.ts';

/** The tensors that a recipe needs, and those that were left out. */
export interface CheckedSources {
  readonly sources: Sources;
  readonly needs: (name: string) => boolean;
  /** Names of tensors that belong to other heads, or that an index leaves out. */
  readonly passedOver: readonly string[];
}

/**
 * Checks that every tensor the recipe needs is there, with its shape and a dtype we read, and that the
 * checkpoint holds no tensor unknown to the recipe, except buffers and other heads: an unknown tensor may
 * be a bias, or a layer, that changes what the model computes.
 * @throws InputError that names the tensor
 */
export function checkSources(
  recipe: ModelRecipe,
  source: TensorSource,
  configFile: string,
): CheckedSources {
  const checked = new Map<string, CheckedSource>();
  const [first] = source.tensors.values();
  const inFile = first?.file === configFile;
  const config = { file: configFile, name: inFile ? 'its metadata' : basename(configFile) };
  const need = (name: string, shape: readonly number[]) => {
    if (checked.has(name)) return;
    const view = recipe.views.get(name);
    if (view === undefined) {
      const tensor = source.tensors.get(name);
      if (tensor === undefined) throw source.absent?.(name) ?? missing(name, config);
      checked.set(name, checkTensor(tensor, shape, config));
    } else {
      need(view.source, view.shape);
      const tensor = viewOf(known(view.source).tensor, view);
      checked.set(name, checkTensor(tensor, shape, config));
    }
  };
  const known = (name: string): CheckedSource => {
    const found = checked.get(name);
    if (found === undefined) throw new Error(`${name} is not in the recipe`);
    return found;
  };
  for (const tensor of recipe.tensors) {
    for (const part of tensor.parts) need(part.source, part.shape);
  }
  for (const { source: name, shape } of ffnSources(recipe)) need(name, shape);
  const ignored = new Set(recipe.ignored);
  const extra = [...source.tensors]
    .filter(([name, { shape }]) => {
      return !checked.has(name) && !ignored.has(name) && !isBuffer({ name, shape });
    })
    .map(([name]) => name);
  // A tensor that the index of the shards leaves out is not part of the model.
  const isApart = (name: string) => isOtherHead(name) || source.unlisted?.has(name) === true;
  const passedOver = extra.filter(isApart);
  const unknown = extra.filter((name) => !isApart(name));
  if (unknown.length > 0) {
    throw new InputError(
      `the checkpoint holds tensors that ${config.name} does not account for: ${some(unknown)}`,
      { file: configFile },
      inFile
        ? 'It may have a newer form of its architecture; adapters must be merged first'
        : 'Check num_hidden_layers, tie_word_embeddings and whether there are biases (enable_bias, ' +
            'attention_bias, mlp_bias, bias) against the weights; adapters must be merged first',
    );
  }
  return { sources: known, needs: (name) => checked.has(name), passedOver };
}

function viewOf(
  tensor: SourceTensor,
  { order, transposed, unitRows: unit, flattened: shape }: SourceView,
): SourceTensor {
  const turned = transposed === true ? transposedMatrix(tensor) : tensor;
  const flat = shape === undefined ? turned : { ...turned, shape };
  const scaled = unit === true ? unitRows(flat) : flat;
  return order === undefined ? scaled : reorderedRows(scaled, order.count, order.sourceOf);
}

/** What says which tensors there are: a file, or the metadata of the file that holds them. */
interface Config {
  readonly file: string;
  readonly name: string;
}

function missing(name: string, config: Config): InputError {
  return new InputError(
    `the checkpoint has no tensor ${name}, which ${config.name} requires`,
    { file: config.file },
    name === 'lm_head.weight'
      ? "The download may be incomplete; if the head is the embedding, 'tie_word_embeddings' should be true"
      : 'The download may be incomplete, or its configuration belongs to another model',
  );
}

function checkTensor(
  tensor: SourceTensor,
  shape: readonly number[],
  config: Config,
): CheckedSource {
  const place = { file: tensor.file, tensor: tensor.name };
  const dtype = floatDTypes.find((known) => known === tensor.dtype);
  if (dtype === undefined) {
    if (tensor.refusal !== undefined) throw tensor.refusal();
    throw new InputError(
      `dtype ${formatOf(tensor)} cannot be converted`,
      place,
      `Supported: ${floatDTypes.join(', ')}`,
    );
  }
  if (tensor.shape.length !== shape.length || tensor.shape.some((n, axis) => n !== shape[axis])) {
    throw new InputError(
      `its shape is [${tensor.shape.join(', ')}], but ${config.name} requires [${shape.join(', ')}]`,
      place,
      'The configuration and the weights contradict each other',
    );
  }
  return { tensor, dtype };
}
