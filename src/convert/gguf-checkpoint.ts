/** A GGUF file as a checkpoint: derives from its metadata what a Hugging Face directory would say. */

import { reorderedRows, withAddend } from '../checkpoint/derived-tensor.ts';
import { type OpenFile, openLocal } from '../checkpoint/file.ts';
import { openGguf } from '../checkpoint/gguf/gguf-file.ts';
import { elementCount } from '../checkpoint/shape.ts';
import type { SourceTensor, TensorSource } from '../checkpoint/source.ts';
import { InputError } from '../errors.ts';
import { translateGguf } from '../models/gguf/index.ts';
import type { Translated } from '../models/gguf/translation.ts';
import type { Checkpoint } from './checkpoint.ts';
import type { SideFileMaker } from './side-file-maker.ts';

/**
 * Factors of rotary frequencies; these and the factors by length are the only tensors that belong to the
 * configuration.
 */
const ropeFactorsName = 'rope_freqs.weight';
/** More frequencies than any head has. */
const mostRopeFactors = 4096;

/** Makes the side files on this thread; the tokenizer's code is loaded where it is needed. */
const makeHere: SideFileMaker = (metadata, file) => async (config, spec) => {
  const { ggufSideContent } = await import('./gguf-side-files.ts');
  return ggufSideContent(metadata, file, config, spec);
};

/**
 * Opens the GGUF file at `path`; for a model in several files, `path` is the first.
 * @param makeSideFiles elsewhere than on this thread, for instance
 * @throws InputError when it is damaged, or its architecture is not supported
 */
export async function openGgufCheckpoint(
  path: string,
  open: OpenFile = openLocal,
  makeSideFiles: SideFileMaker = makeHere,
): Promise<Checkpoint> {
  const source = await openGguf(path, open);
  try {
    const making = makeSideFiles(source.metadata, path);
    const { config, translate } = translateGguf({
      file: path,
      metadata: source.metadata,
      shapes: new Map([...source.tensors].map(([name, { shape }]) => [name, shape])),
      ropeFactors: await ropeFactors(source.tensors.get(ropeFactorsName)),
      lengthFactors: await lengthFactors(source.tensors),
    });
    const tensors = new Map<string, SourceTensor>();
    for (const tensor of source.tensors.values()) {
      // An unknown tensor keeps its name, so that the refusal can name it.
      for (const to of translate(tensor.name) ?? [{ name: tensor.name }]) {
        tensors.set(to.name, derived(tensor, to));
      }
    }
    const translated: TensorSource = { tensors, bytes: source.bytes, close: source.close };
    return {
      format: 'GGUF',
      config,
      configFile: path,
      source: translated,
      readSideFiles: (spec) => making(config, spec),
    };
  } catch (error) {
    await source.close();
    throw error;
  }
}

function derived(found: SourceTensor, { rows, add, shape }: Translated): SourceTensor {
  // A tensor with another number of values keeps its own shape, so that the refusal can name it.
  const fits = shape !== undefined && elementCount(shape) === elementCount(found.shape);
  const tensor = fits ? { ...found, shape } : found;
  const ordered = rows === undefined ? tensor : reorderedRows(tensor, rows.count, rows.sourceOf);
  return add === undefined ? ordered : withAddend(ordered, add);
}

async function lengthFactors(tensors: TensorSource['tensors']) {
  const of = (length: string) => ropeFactors(tensors.get(`rope_factors_${length}.weight`));
  const [short, long] = [await of('short'), await of('long')];
  return short && long && { short, long };
}

async function ropeFactors(tensor: SourceTensor | undefined): Promise<Float32Array | null> {
  if (tensor === undefined) return null;
  const [count = 0, ...more] = tensor.shape;
  if (tensor.dtype !== 'f32' || more.length > 0 || count > mostRopeFactors) {
    throw new InputError('is not a one-dimensional f32 tensor', {
      file: tensor.file,
      tensor: tensor.name,
    });
  }
  const factors = new Float32Array(count);
  await tensor.read(0, count, new Uint8Array(factors.buffer));
  return factors;
}
