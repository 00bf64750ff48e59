/**
 * Writes a model again with the neurons of its layers in another order: bundles, biases of neurons and
 * predictors, all consistently, so that running the model needs no knowledge of the order. The new directory
 * lies beside the old one until it is complete, and then replaces it in one step.
 */

import { constants } from 'node:fs';
import { copyFile, open, readdir, realpath } from 'node:fs/promises';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { writeFully, writeNewFile } from '../aside.ts';
import { OutputDirectory } from '../convert/output-directory.ts';
import { TensorFileWriter } from '../convert/tensor-file.ts';
import { InputError, InterruptedError, withNothingLeft, writeError } from '../errors.ts';
import type { PlacedTensor } from '../flash/layout.ts';
import {
  bundlesFile,
  formatManifest,
  type Manifest,
  manifestFile,
  residentFile,
  type StoredTensor,
} from '../flash/manifest.ts';
import { parseManifest } from '../flash/manifest-reader.ts';
import { type Part, predictorChecksum, predictorsFile } from '../flash/predictor-file.ts';
import { type PredictorSource, writePredictors } from '../flash/predictor-writer.ts';
import { tensorNames } from '../models/spec.ts';
import { isOwnedName } from '../owned.ts';
import { gatherRows, permuteRows } from './neuron-order.ts';

export interface Rearrangement {
  readonly dir: string;
  readonly manifest: Manifest;
  /** Per layer the neuron at each place. */
  readonly orders: readonly Uint32Array[];
  /** All bundles of a layer in the old order, one after the other; valid until the next call. */
  readonly bundles: (layer: number) => Promise<Uint8Array>;
  /** As they are. */
  readonly predictors: PredictorSource;
  readonly signal?: AbortSignal | undefined;
  /** Called with the share of the work that is done, 0 to 1. */
  readonly onProgress?: (done: number) => void;
}

/** Bundles that are gathered before they are written. */
const gatherBytes = 4 * 1024 * 1024;

/** Bytes of memory that {@link writeRearranged} takes besides a layer's bundles. */
export const rearrangingBytes = 2 * gatherBytes;

/**
 * Writes the rearranged model beside the existing one. The existing model stays unchanged until `commit` of
 * the result; `abandon` removes the new one.
 * @throws InputError when the disk has no room for it, or its directory cannot be created
 */
export async function writeRearranged(work: Rearrangement): Promise<OutputDirectory> {
  const place = await realpath(work.dir);
  const directory = await OutputDirectory.create(place, bytesOf(work.manifest), true);
  try {
    await copyOthers(place, directory.path);
    const biases = await permuteBiases(work, directory.path);
    const bundles = await writeBundles(work, place, directory.path);
    const changed = new Map([...biases, ...bundles]);
    const text = formatManifest({
      ...work.manifest,
      layers: work.manifest.layers.map((layer, index) => ({
        ...layer,
        order: composed(layer.order, work.orders[index] ?? new Uint32Array()),
      })),
      tensors: new Map([...work.manifest.tensors].map(([k, old]) => [k, changed.get(k) ?? old])),
    });
    const path = join(directory.path, manifestFile);
    await writeNewFile(path, text).catch((cause: unknown) => {
      throw writeError(cause, path);
    });
    await writePredictors(directory.path, parseManifest(text, path), await permuted(work));
    return directory;
  } catch (error) {
    throw (await directory.abandon()) ? withNothingLeft(error) : error;
  }
}

function bytesOf({ files }: Manifest): number {
  return Object.values(files).reduce((sum, { bytes }) => sum + bytes, 0);
}

/** Combines an order with the previous one. */
function composed(before: Uint32Array | undefined, order: Uint32Array): Uint32Array {
  return before === undefined ? order : order.map((neuron) => before[neuron] ?? 0);
}

const copyFlags = constants.COPYFILE_FICLONE | constants.COPYFILE_EXCL;

/** Copies all files except those written anew and those of an unfinished training. */
async function copyOthers(from: string, to: string): Promise<void> {
  const anew = new Set([manifestFile, bundlesFile, predictorsFile]);
  for (const entry of await readdir(from, { withFileTypes: true })) {
    if (!entry.isFile() || anew.has(entry.name) || isOwnedName(entry.name)) continue;
    const target = join(to, entry.name);
    await copyFile(join(from, entry.name), target, copyFlags).catch((cause: unknown) => {
      throw writeError(cause, target);
    });
  }
}

/** Permutes the vectors that have one value per neuron, in the copied file. */
async function permuteBiases(
  { manifest, orders }: Rearrangement,
  to: string,
): Promise<Map<string, StoredTensor>> {
  const changed = new Map<string, StoredTensor>();
  const path = join(to, residentFile);
  const file = await open(path, 'r+');
  try {
    for (const [layer, order] of orders.entries()) {
      for (const name of [tensorNames.upBias(layer), tensorNames.gateBias(layer)]) {
        const tensor = manifest.tensors.get(name);
        if (tensor === undefined) continue;
        const bytes = Buffer.alloc(tensor.bytes);
        await file.read(bytes, 0, bytes.length, tensor.offset);
        if (crc32(bytes) !== tensor.checksums[0]) {
          const at = { file: path, tensor: name, offset: tensor.offset };
          throw new InputError('damaged: a checksum does not match', at);
        }
        const moved = permuteRows(bytes, order);
        await writeFully(file, moved, tensor.offset);
        changed.set(name, { ...tensor, checksums: Uint32Array.of(crc32(moved)) });
      }
    }
    await file.sync();
  } catch (cause) {
    throw cause instanceof InputError ? cause : writeError(cause, path);
  } finally {
    await file.close();
  }
  return changed;
}

async function writeBundles(
  work: Rearrangement,
  from: string,
  to: string,
): Promise<Map<string, StoredTensor>> {
  const { manifest, orders, signal, onProgress } = work;
  const stored = manifest.files[bundlesFile];
  const header = await readStart(join(from, bundlesFile), stored?.headerBytes ?? 0);
  const tensors = manifest.layers.flatMap(({ tensor }) => manifest.tensors.get(tensor) ?? []);
  const layout = { file: bundlesFile, header, tensors, bytes: stored?.bytes ?? 0 };
  const writer = await TensorFileWriter.create(to, layout);
  const { bundles } = work;
  let done = 0;
  async function* partsOf(tensor: PlacedTensor): AsyncGenerator<Uint8Array> {
    const layer = done++;
    const order = orders[layer] ?? new Uint32Array();
    yield* gathered(await bundles(layer), order, tensor.bytes / order.length, signal);
    onProgress?.(done / tensors.length);
  }
  try {
    const changed = await writer.writeTensors(partsOf);
    await writer.finish();
    return new Map(changed.map((tensor) => [tensor.name, tensor]));
  } catch (error) {
    await writer.close().catch(() => {});
    throw error;
  }
}

async function readStart(path: string, bytes: number): Promise<Uint8Array> {
  const file = await open(path);
  try {
    const header = Buffer.alloc(bytes);
    await file.read(header, 0, bytes, 0);
    return header;
  } finally {
    await file.close();
  }
}

/**
 * Yields the rows in their new order, some at a time, in one buffer: write each part before taking the next.
 */
async function* gathered(
  rows: Uint8Array,
  order: Uint32Array,
  rowBytes: number,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array> {
  const atOnce = Math.max(1, Math.floor(gatherBytes / rowBytes));
  const buffer = new Uint8Array(Math.min(atOnce, order.length) * rowBytes);
  for (let start = 0; start < order.length; start += atOnce) {
    if (signal?.aborted) throw new InterruptedError();
    const part = order.subarray(start, start + atOnce);
    gatherRows(buffer, rows, part, rowBytes);
    yield buffer.subarray(0, part.length * rowBytes);
  }
}

/** The predictors with neurons in the new order; A does not change. */
async function permuted({ orders, predictors }: Rearrangement): Promise<PredictorSource> {
  const bytes = async (layer: number, part: Part) => {
    const old = await predictors.bytes(layer, part);
    return part === 'a' ? old : permuteRows(old, orders[layer] ?? new Uint32Array());
  };
  const moved: readonly Part[] = ['b', 'bias', 'frequency'];
  const checksums: Partial<Record<Part, number>>[] = [];
  for (const [layer, shape] of predictors.layers.entries()) {
    checksums.push({});
    for (const part of shape === null ? [] : moved) {
      checksums[layer] = {
        ...checksums[layer],
        [part]: predictorChecksum(await bytes(layer, part)),
      };
    }
  }
  const checksum = (layer: number, part: Part) =>
    checksums[layer]?.[part] ?? predictors.checksum(layer, part);
  return { ...predictors, bytes, checksum };
}
