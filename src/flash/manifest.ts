/**
 * `flash.json`: the contents of a model directory, the place of each tensor, and the checksum of every block.
 * It is the last file written, so a directory without it is not a model. See docs/FORMAT.md.
 */

import {
  type DType,
  type Format,
  formats,
  ggufDTypes,
  isNeuronDType,
  type NeuronDType,
} from '../dtype.ts';
import { type ModelSpec, storedSpec, type WeightDTypes } from '../models/spec.ts';
import { crcHex, encodeWords } from './checksum.ts';
import { type FfnUnits, type NeuronGeometry, neuronGeometry } from './ffn-units.ts';

export const manifestFile = 'flash.json';
export const residentFile = 'resident.safetensors';
export const bundlesFile = 'bundles.safetensors';
/** Prefix of the names of entries that a training of predictors keeps in the directory while it runs. */
export const trainingBase = 'predict-train';
/** Small files that a model copies unchanged from its checkpoint, if the checkpoint has them. */
export const sideFileNames = [
  'config.json',
  'generation_config.json',
  'tokenizer.json',
  'tokenizer_config.json',
  'chat_template.jinja',
  'special_tokens_map.json',
  'added_tokens.json',
  'vocab.json',
  'merges.txt',
] as const;

/**
 * A checkpoint's directory of further chat templates beside chat_template.jinja, by name: `tool_use.jinja`.
 */
export const templateDirectory = 'additional_chat_templates';

const namedTemplate = /^chat_template\.([A-Za-z0-9_-]{1,64})\.jinja$/;

/** The name of such a template in a model directory, which has no subdirectories. */
export function templateFile(name: string): string {
  return `chat_template.${name}.jinja`;
}

/** The name of the template in a file of a model directory; null for another file. */
export function templateNameOf(file: string): string | null {
  return namedTemplate.exec(file)?.[1] ?? null;
}

/**
 * The name, in a model directory, of a file from a checkpoint's `additional_chat_templates`.
 * @returns null for a file that is not a template, or whose name cannot be used
 */
export function storedTemplateName(file: string): string | null {
  const stored = file.endsWith('.jinja') ? templateFile(file.slice(0, -'.jinja'.length)) : '';
  return templateNameOf(stored) === null ? null : stored;
}

export function isSideFile(name: string): boolean {
  return sideFileNames.some((known) => known === name) || templateNameOf(name) !== null;
}

/** Raised whenever a reader of the old version could not read the new one. */
export const formatVersion = 3;

/** Element type of a stored tensor; bundle tensors are plain bytes. */
export type StoredDType = DType | 'u8';

export interface StoredTensor {
  readonly name: string;
  readonly file: string;
  readonly dtype: StoredDType;
  /**
   * `(n)`, `(rows, columns)`, or `(neurons, bundle bytes)`; the bytes of a quantised row do not follow from
   * its columns alone.
   */
  readonly shape: readonly number[];
  /** Byte offset in the file. */
  readonly offset: number;
  readonly bytes: number;
  /** Rows of one checksummed block. A vector is one row. */
  readonly rowsPerBlock: number;
  /** CRC-32 of each block. */
  readonly checksums: Uint32Array;
}

/** A layer whose only FFN has neurons as its units: its bundles. */
export interface BundleLayer extends NeuronGeometry {
  readonly tensor: string;
  readonly neurons: number;
  /**
   * (neurons): the checkpoint's number of each neuron, where predict-train has placed neurons that fire
   * together side by side. The whole model has the new order; this table translates the checkpoint's numbers.
   */
  readonly order?: Uint32Array;
}

export interface StoredFile {
  readonly bytes: number;
  /** CRC-32 of the whole file, or of the header alone for `.safetensors`, as hex. */
  readonly crc32: string;
  /** Length of the safetensors header with its length field, for `.safetensors`. */
  readonly headerBytes?: number | undefined;
}

/** What flash.json says of a small file with this content. */
export function storedFile(data: Uint8Array): StoredFile {
  return { bytes: data.length, crc32: crcHex(data) };
}

export interface Manifest {
  /** The checksum of the file it was read from; empty for a manifest not yet written. */
  readonly crc32: string;
  readonly producer: string;
  readonly spec: ModelSpec;
  readonly dtypes: WeightDTypes;
  /** Per layer its FFNs. */
  readonly ffns: readonly (readonly FfnUnits[])[];
  /**
   * Per layer its neurons, as predictors and their training see them; empty where units are not single
   * neurons.
   */
  readonly layers: readonly BundleLayer[];
  readonly files: Readonly<Record<string, StoredFile>>;
  readonly tensors: ReadonlyMap<string, StoredTensor>;
}

/** Rows of a stored tensor and the bytes of one. */
export function rowsOf(tensor: StoredTensor): { rows: number; rowBytes: number } {
  const rows = tensor.shape.length > 1 ? (tensor.shape[0] ?? 1) : 1;
  return { rows, rowBytes: tensor.bytes / rows };
}

/** The neurons of each layer where all FFNs consist of single neurons, else none; in their present order. */
export function bundleLayers(ffns: Manifest['ffns']): readonly BundleLayer[] {
  const layers = ffns.flatMap((units): BundleLayer[] => {
    const [ffn] = units;
    const geometry = ffn === undefined || units.length > 1 ? null : neuronGeometry(ffn);
    if (ffn === undefined || geometry === null) return [];
    return [{ tensor: ffn.tensor, neurons: ffn.count, ...geometry }];
  });
  return layers.length === ffns.length ? layers : [];
}

/**
 * The format of a matrix, or of the rows and columns in an FFN's units; where a unit's parts have several
 * formats, that of the first part.
 */
export function weightFormat(
  { name, dtype }: StoredTensor,
  { dtypes, ffns }: Pick<Manifest, 'dtypes' | 'ffns'>,
): Format {
  if (dtype !== 'u8') return formats[dtype];
  if (dtypes.bundles !== 'mixed') return formats[dtypes.bundles];
  const [part] = ffns.flat().find(({ tensor }) => tensor === name)?.parts ?? [];
  if (part === undefined) throw new Error(`no FFN has its units in ${name}`);
  return formats[part.dtype];
}

/**
 * Whether products with some of its weights round activations to 8 bits, unless exact products are requested.
 */
export function roundsActivations(manifest: Pick<Manifest, 'tensors' | 'ffns'>): boolean {
  return Object.keys(weightsByFormat(manifest)).some((dtype) =>
    ggufDTypes.some((known) => known === dtype),
  );
}

/** The number of weights in each format, of matrices and of the parts of units. */
export function weightsByFormat({
  tensors,
  ffns,
}: Pick<Manifest, 'tensors' | 'ffns'>): Partial<Record<DType, number>> {
  const counts: Partial<Record<DType, number>> = {};
  const add = (dtype: DType, weights: number) => {
    counts[dtype] = (counts[dtype] ?? 0) + weights;
  };
  for (const { dtype, shape } of tensors.values()) {
    const [rows = 0, columns] = shape;
    if (dtype !== 'u8' && columns !== undefined) add(dtype, rows * columns);
  }
  for (const { count, parts } of ffns.flat()) {
    for (const { dtype, shape } of parts) add(dtype, count * shape[0] * shape[1]);
  }
  return counts;
}

/**
 * The format of an FFN's single neurons, whose parts all have the same format.
 * @throws RangeError where units are not single neurons
 */
export function neuronDType({ bundles }: WeightDTypes): NeuronDType {
  if (bundles !== 'mixed' && isNeuronDType(bundles)) return bundles;
  throw new RangeError(`single neurons cannot be in ${bundles}`);
}

/** The number of weights, in any format, of all tensors or of some. */
export function weightCount(
  { spec, tensors: all }: Pick<Manifest, 'spec' | 'tensors'>,
  tensors: Iterable<StoredTensor> = all.values(),
): number {
  const matrices = spec.ffn.gate === 'none' ? 2 : 3;
  let count = 0;
  for (const { dtype, shape } of tensors) {
    const [rows = 1, columns = 1] = shape;
    count += rows * (dtype === 'u8' ? matrices * spec.hiddenSize : columns);
  }
  return count;
}

/** Stands in for the checksum while this is computed. */
export const noChecksum = '00000000';
/** The last field of the text. */
export const checksumField = /"crc32": "([0-9a-f]{8})"\n\}\n$/;

/** The text of `flash.json`; its last field is the CRC-32 of the text with that field zeroed. */
export function formatManifest(manifest: Manifest): string {
  const tensors = Object.fromEntries(
    [...manifest.tensors.values()].map(({ name, checksums, ...tensor }) => [
      name,
      { ...tensor, crc32: encodeWords(checksums) },
    ]),
  );
  const document = {
    formatVersion,
    producer: manifest.producer,
    architecture: storedSpec(manifest.spec),
    dtypes: manifest.dtypes,
    layers: manifest.layers.map(({ order, ...layer }) => ({
      ...layer,
      ...(order && { order: encodeWords(order) }),
    })),
    ffns: manifest.ffns,
    files: manifest.files,
    tensors,
    crc32: noChecksum,
  };
  const text = `${JSON.stringify(document, null, 1)}\n`;
  const field = (crc: string) => `"crc32": "${crc}"\n}\n`;
  return text.replace(checksumField, field(crcHex(text)));
}
