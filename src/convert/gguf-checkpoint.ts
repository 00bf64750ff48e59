/** A GGUF file as a checkpoint: derives from its metadata what a Hugging Face directory would say. */

import { reorderedRows, withAddend } from '../checkpoint/derived-tensor.ts';
import { type OpenFile, openLocal } from '../checkpoint/file.ts';
import { openGguf } from '../checkpoint/gguf/gguf-file.ts';
import { elementCount } from '../checkpoint/shape.ts';
import type { SourceTensor, TensorSource } from '../checkpoint/source.ts';
import { InputError } from '../errors.ts';
import { translateGguf } from '../models/gguf/index.ts';
import type { Translated } from '../models/gguf/translation.ts';
import type { ModelSpec } from '../models/spec.ts';
import { type GgufTokenizer, tokenizerFromGguf } from '../tokenizer/from-gguf.ts';
import { pipelineTokenizer } from '../tokenizer/tokenizer.ts';
import type { Checkpoint } from './checkpoint.ts';
import { type SideContent, type SideFiles, sideContent } from './side-files.ts';

/**
 * Factors of rotary frequencies; these and the factors by length are the only tensors that belong to the
 * configuration.
 */
const ropeFactorsName = 'rope_freqs.weight';
/** More frequencies than any head has. */
const mostRopeFactors = 4096;

/**
 * Opens the GGUF file at `path`; for a model in several files, `path` is the first.
 * @throws InputError when it is damaged, or its architecture is not supported
 */
export async function openGgufCheckpoint(
  path: string,
  open: OpenFile = openLocal,
): Promise<Checkpoint> {
  const source = await openGguf(path, open);
  try {
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
      readSideFiles: async (spec) =>
        readSideFiles(config, spec, tokenizerFromGguf(source.metadata, path), path),
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

function readSideFiles(
  config: Readonly<Record<string, unknown>>,
  spec: ModelSpec,
  made: GgufTokenizer,
  path: string,
): SideContent {
  const model = { ...spec, eosIds: made.eosIds };
  const { json, config: tokenizerConfig, tables } = made;
  const built = pipelineTokenizer(
    { json, file: path, files: { config: tokenizerConfig }, ...(tables && { ready: tables }) },
    model,
  );
  // Other programs use only the end tokens that the file names.
  const eosIds = [...built.tokenizer.eosIds];
  return sideContent(sideFiles(config, made, eosIds), built, { ...spec, eosIds });
}

function sideFiles(
  config: Readonly<Record<string, unknown>>,
  { bytes, config: tokenizerConfig }: GgufTokenizer,
  eosIds: readonly number[],
): SideFiles {
  const file = (value: unknown, indent?: number) =>
    Buffer.from(JSON.stringify(value, null, indent));
  return new Map([
    ['config.json', file(config, 2)],
    ['generation_config.json', file(eosIds.length === 0 ? {} : { eos_token_id: eosIds }, 2)],
    ['tokenizer.json', bytes()],
    ['tokenizer_config.json', file(tokenizerConfig, 2)],
  ]);
}
