/**
 * `predictors.safetensors`: predicts from the FFN's input which neurons a token will want. The file lies
 * beside the model's other files and belongs to exactly one conversion of the model. See docs/FORMAT.md.
 */

import { crc32 } from 'node:zlib';
import * as v from 'valibot';
import { brief, parseJsonText } from '../checkpoint/json-file.ts';
import { parseSafetensorsHeader } from '../checkpoint/safetensors-header.ts';
import { byteLength, type DType, dtypeNames, formats } from '../dtype.ts';
import { InputError } from '../errors.ts';
import { alignUp } from '../units.ts';
import { crcHex } from './checksum.ts';
import {
  type FileLayout,
  layoutFile,
  type PlacedTensor,
  sectorBytes,
  vectorAlignment,
} from './layout.ts';
import type { Manifest, StoredTensor } from './manifest.ts';

export const predictorsFile = 'predictors.safetensors';

/**
 * Raised whenever a reader of the old version could not read the new one. A file that holds only factors and
 * magnitudes is written as version 1, which older readers accept.
 */
const predictorVersions = [1, 2] as const;

const share = v.pipe(v.number(), v.minValue(0), v.maxValue(1));

/** Figures that training measured on held-out tokens: shares of neurons, and mass of activations. */
export const reportSchema = v.object({
  /** Share of neurons that did not fire. */
  sparsity: share,
  /** Share of neurons that were predicted to fire. */
  predicted: share,
  /** Share of the neurons that fired which were predicted. */
  recall: share,
  /** Share of the predicted neurons which fired. */
  precision: share,
  /** Share of the activations' weight in the output that was kept. */
  mass: share,
});
export type PredictorReport = v.InferOutput<typeof reportSchema>;

const shapeSchema = v.object({
  rank: v.pipe(v.number(), v.safeInteger(), v.minValue(1)),
  /** Whether f is a ReLU; else f is the identity. */
  relu: v.boolean(),
  /** The input x: the FFN's input, or the residual stream before the FFN's norm. */
  input: v.picklist(['ffn', 'residual']),
  /**
   * `rows`: there is no A, and B is a copy in few bits of the rows that decide whether a neuron fires
   * (the gate's, or the up projection's where there is none). Absent: `factors`.
   */
  form: v.optional(v.picklist(['factors', 'rows'])),
  /**
   * Where no activation is exactly 0: there is no A, B is the gate itself, and a neuron is wanted when
   * |act(B x + bias)| is above this.
   */
  magnitude: v.optional(v.object({ threshold: v.pipe(v.number(), v.finite(), v.minValue(0)) })),
  report: reportSchema,
});
/** The properties of one layer's predictor, without its weights. */
export type PredictorShape = v.InferOutput<typeof shapeSchema>;

/** One layer's predictor in the file: score = B f(A x) + bias, wanted where it is above 0. */
export interface StoredPredictor extends PredictorShape {
  /** (rank, hidden); null where rows take the place of the factors. */
  readonly a: StoredTensor | null;
  /** (neurons, rank) */
  readonly b: StoredTensor;
  /** f32 (neurons), the threshold folded in, or the gates' bias */
  readonly bias: StoredTensor;
  /** f16 (neurons): share of tokens for which the neuron is predicted. */
  readonly frequency: StoredTensor;
}

export interface PredictorSet {
  readonly producer: string;
  /** Format of A and B. */
  readonly dtype: DType;
  /** Per layer of the model; null where none pays. */
  readonly layers: readonly (StoredPredictor | null)[];
}

const documentSchema = v.object({
  version: v.picklist(predictorVersions),
  producer: v.string(),
  /** The checksum of the model's flash.json. */
  model: v.string(),
  dtype: v.picklist(dtypeNames),
  layers: v.array(v.nullable(shapeSchema)),
  /** CRC-32 of each tensor. */
  checksums: v.record(v.string(), v.pipe(v.number(), v.safeInteger(), v.minValue(0))),
});
type Document = v.InferOutput<typeof documentSchema>;

/** The tensors of a layer's predictor. */
export type Part = 'a' | 'b' | 'bias' | 'frequency';

/** How a tensor is stored. */
function storageOf(part: Part, dimensions: readonly number[], dtype: DType) {
  const [first = 0, second = 0] = dimensions;
  if (part === 'bias') return { type: 'f32' as const, rows: 1, columns: first };
  if (part === 'frequency') return { type: 'f16' as const, rows: 1, columns: first };
  return { type: dtype, rows: first, columns: second };
}

/** Whether a predictor is a pair of factors, B f(A x), rather than rows over the whole input. */
export function hasFactors({
  form,
  magnitude,
}: Pick<PredictorShape, 'form' | 'magnitude'>): boolean {
  return magnitude === undefined && form !== 'rows';
}

/** The tensors of a predictor that stay in memory while the model runs. */
function weightParts(shape: PredictorShape): Part[] {
  return hasFactors(shape) ? ['a', 'b', 'bias'] : ['b', 'bias'];
}

const tensorName = (layer: number, part: Part) => `layers.${layer}.predictor.${part}`;

function shapeOf(
  manifest: Manifest,
  layer: number,
  { rank }: Pick<PredictorShape, 'rank'>,
  part: Part,
) {
  const neurons = manifest.layers[layer]?.neurons ?? 0;
  if (part === 'a') return [rank, manifest.spec.hiddenSize];
  return part === 'b' ? [neurons, rank] : [neurons];
}

/** Bytes of a tensor of a layer's predictor whose A and B are stored as `dtype`. */
export function partBytes(
  manifest: Manifest,
  layer: number,
  shape: Pick<PredictorShape, 'rank'>,
  part: Part,
  dtype: DType,
): number {
  const { type, rows, columns } = storageOf(part, shapeOf(manifest, layer, shape, part), dtype);
  return rows * byteLength(type, columns);
}

/** The input of `layoutPredictors`. */
export interface PredictorContents {
  readonly producer: string;
  readonly dtype: DType;
  readonly layers: readonly (PredictorShape | null)[];
  /** CRC-32 of a tensor's bytes. */
  readonly checksum: (layer: number, part: Part) => number;
}

/** A tensor of the file, to be written at its offset. */
export interface PredictorPart {
  readonly layer: number;
  readonly part: Part;
  readonly tensor: PlacedTensor;
}

/**
 * The file's header and the places of its tensors. Tensors that stay in memory come first, frequencies last.
 */
export function layoutPredictors(
  manifest: Manifest,
  { producer, dtype, layers, checksum }: PredictorContents,
): Pick<FileLayout, 'header' | 'bytes'> & { readonly parts: readonly PredictorPart[] } {
  const checksums: Record<string, number> = {};
  const wanted = (parts: (shape: PredictorShape) => readonly Part[]) =>
    layers.flatMap((shape, layer) =>
      shape === null ? [] : parts(shape).map((part) => ({ layer, part, shape })),
    );
  const all = [...wanted(weightParts), ...wanted(() => ['frequency'])];
  const tensors = all.map(({ layer, part, shape }) => {
    const name = tensorName(layer, part);
    const dimensions = shapeOf(manifest, layer, shape, part);
    const { type, rows, columns } = storageOf(part, dimensions, dtype);
    checksums[name] = checksum(layer, part);
    return {
      name,
      dtype: type,
      shape: dimensions,
      bytes: rows * byteLength(type, columns),
      alignment: vectorAlignment,
      rowsPerBlock: rows,
    };
  });
  const document: Document = {
    version: layers.some((shape) => shape?.form === 'rows') ? 2 : 1,
    producer,
    model: manifest.crc32,
    dtype,
    layers: [...layers],
    checksums,
  };
  const layout = layoutFile(predictorsFile, tensors, {
    predictors: JSON.stringify(document),
    crc32: noChecksum,
  });
  const text = Buffer.from(layout.header).toString('latin1');
  const header = Buffer.from(text.replace(checksumField, `"crc32":"${crcHex(text)}"`), 'latin1');
  const placed = new Map(layout.tensors.map((tensor) => [tensor.name, tensor]));
  return {
    header,
    bytes: layout.bytes,
    parts: all.map(({ layer, part }) => {
      const tensor = placed.get(tensorName(layer, part));
      if (tensor === undefined) throw new Error('a tensor without a place');
      return { layer, part, tensor };
    }),
  };
}

const noChecksum = '00000000';
const checksumField = /"crc32":"[0-9a-f]{8}"/;

const trainAgain = 'Train again with predict-train, or delete the file';

/**
 * Reads the header, its length field included.
 * @throws InputError when it is damaged, of a newer version, or of another model
 */
export function parsePredictors(
  header: Uint8Array,
  manifest: Manifest,
  { path, size }: { readonly path: string; readonly size: number },
): PredictorSet {
  const damaged = (what: string, cause?: unknown) =>
    new InputError(`damaged: ${what.replace(/^damaged: /, '')}`, { file: path }, trainAgain, {
      cause,
    });
  const text = Buffer.from(header).toString('latin1');
  const stored = checksumField.exec(text)?.[0].slice(-9, -1);
  if (stored !== crcHex(text.replace(checksumField, `"crc32":"${noChecksum}"`))) {
    throw damaged('the checksum of its header does not match');
  }
  const { tensors, metadata } = guarded(
    () => parseSafetensorsHeader(Buffer.from(header.subarray(8)), { path, size }),
    damaged,
  );
  const document = guarded(() => parseJsonText(metadata.get('predictors') ?? '', path), damaged);
  const parsed = v.safeParse(documentSchema, document);
  if (!parsed.success) {
    const [issue] = parsed.issues;
    const where = v.getDotPath(issue);
    if (where === 'version') {
      const hint = 'Update flashllm, or train again with this one';
      throw new InputError(
        'has a format version that this flashllm does not read',
        { file: path },
        hint,
      );
    }
    throw damaged(`${where ?? 'document'}: ${issue.message}`);
  }
  const { producer, dtype, model, layers, checksums } = parsed.output;
  if (model !== manifest.crc32 || layers.length !== manifest.layers.length) {
    throw new InputError(
      'was trained for another conversion of the model',
      { file: path },
      trainAgain,
    );
  }
  for (const [layer, shape] of layers.entries()) {
    if (shape !== null && !hasFactors(shape) && shape.rank !== manifest.spec.hiddenSize) {
      throw damaged(`layers.${layer}: rows of ${shape.rank} values are not rows of gates`);
    }
  }
  // Tensors must be contiguous, as they were written.
  let end = header.length;
  const tensor = (layer: number, shape: PredictorShape, part: Part): StoredTensor => {
    const name = tensorName(layer, part);
    const entry = tensors.get(name);
    const dimensions = shapeOf(manifest, layer, shape, part);
    const { type, rows, columns } = storageOf(part, dimensions, dtype);
    const offset = alignUp(end, vectorAlignment);
    const bytes = rows * byteLength(type, columns);
    if (entry?.offset !== offset || entry.bytes !== bytes) {
      throw damaged(`${name} is not ${bytes} bytes at ${offset}`);
    }
    if (entry.storedAs !== formats[type].safetensors) {
      throw damaged(`${name} has the dtype ${brief(entry.storedAs)}`);
    }
    end = offset + bytes;
    return {
      name,
      file: predictorsFile,
      dtype: type,
      shape: dimensions,
      offset,
      bytes,
      rowsPerBlock: rows,
      checksums: Uint32Array.of(checksums[name] ?? 0),
    };
  };
  const weights = layers.map(
    (shape, layer) =>
      shape && {
        a: hasFactors(shape) ? tensor(layer, shape, 'a') : null,
        b: tensor(layer, shape, 'b'),
        bias: tensor(layer, shape, 'bias'),
      },
  );
  const set: PredictorSet = {
    producer,
    dtype,
    layers: layers.map((shape, layer) => {
      const parts = weights[layer];
      if (shape === null || !parts) return null;
      return { ...shape, ...parts, frequency: tensor(layer, shape, 'frequency') };
    }),
  };
  if (size !== alignUp(end, sectorBytes))
    throw damaged(`${size} bytes are not those of its tensors`);
  return set;
}

/** The result of `step`, whose errors count as damage. */
function guarded<T>(step: () => T, damaged: (what: string, cause?: unknown) => InputError): T {
  try {
    return step();
  } catch (cause) {
    if (!(cause instanceof InputError)) throw cause;
    throw damaged(cause.message, cause);
  }
}

/** Tensors that stay in memory while the model runs, in the order of the file. */
export function predictorWeights({ layers }: PredictorSet): StoredTensor[] {
  return layers.flatMap((layer) =>
    layer === null ? [] : [...(layer.a === null ? [] : [layer.a]), layer.b, layer.bias],
  );
}

/** All tensors of the file. */
export function predictorTensors(set: PredictorSet | null): StoredTensor[] {
  if (set === null) return [];
  return [...predictorWeights(set), ...set.layers.flatMap((layer) => layer?.frequency ?? [])];
}

/** CRC-32 of a tensor's bytes, as the header holds it. */
export function predictorChecksum(bytes: Uint8Array): number {
  return crc32(bytes);
}
