/**
 * A training in progress: a directory inside the model's, with finished layers and the states after the last
 * one, so that a training that was stopped or killed can be resumed.
 */

import { lstat, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import * as v from 'valibot';
import type { LayerOrder } from '../arrange/layer-order.ts';
import { ownerOnlyDirectory, writeAside, writeNewFile } from '../aside.ts';
import { parseJson } from '../checkpoint/json-file.ts';
import { writeError } from '../errors.ts';
import { type Manifest, trainingBase } from '../flash/manifest.ts';
import { type Part, predictorChecksum } from '../flash/predictor-file.ts';
import { removeEntry } from '../moving-files.ts';
import { readRegular } from '../regular-file.ts';
import {
  binFile,
  type FinishedLayer,
  jsonFile,
  orderFile,
  partNames,
  readFinishedLayers,
  readOrder,
} from './finished-layer.ts';
import type { TrainedPredictor } from './layer.ts';

/** Bytes of the settings' file. */
const longestSettings = 64 * 1024;

/** The result of a trial on the first layer. */
const settledSchema = v.object({
  /** Which predictors are made: rows only, or factors, each layer's compared with rows. */
  method: v.picklist(['rows', 'low-rank']),
});
export type Settled = v.InferOutput<typeof settledSchema>;

export class TrainingJob {
  readonly dir: string;
  /** Finished layers, from the first on. */
  readonly layers: FinishedLayer[];

  private constructor(dir: string, layers: FinishedLayer[]) {
    this.dir = dir;
    this.layers = layers;
  }

  /**
   * Opens the job in a model's directory: a stopped one if it has the same settings, else a new one. Only one
   * process may open it: see `claimTraining`.
   * @param settings all settings that results depend on
   * @param stateBytes the most bytes of the states between two layers
   */
  static async open(
    modelDir: string,
    manifest: Manifest,
    settings: object,
    stateBytes: readonly number[],
  ): Promise<TrainingJob> {
    const dir = join(modelDir, `${trainingBase}.partial`);
    const text = `${JSON.stringify(settings, null, 1)}\n`;
    const settingsFile = join(dir, 'settings.json');
    try {
      if (await isOwnDirectory(dir)) {
        const stored = await readRegular(settingsFile, longestSettings).catch(() => null);
        const layers =
          stored?.toString('utf8') === text
            ? await readFinishedLayers(dir, manifest, stateBytes)
            : null;
        if (layers !== null) return new TrainingJob(dir, layers);
      }
      await removeEntry(dir);
      await mkdir(dir, { mode: ownerOnlyDirectory });
      await writeNewFile(settingsFile, text);
      return new TrainingJob(dir, []);
    } catch (cause) {
      throw writeError(cause, dir);
    }
  }

  /** The choices made before the first layer; null until {@link settle}. */
  async settled(): Promise<Settled | null> {
    const file = this.#settledFile;
    const content = await readRegular(file, longestSettings).catch(() => null);
    if (content === null) return null;
    const parsed = v.safeParse(settledSchema, parseJson(content, file));
    return parsed.success ? parsed.output : null;
  }

  /** Stores the choices for all layers, so that a resumed run makes the same ones. */
  async settle(settled: Settled): Promise<void> {
    const file = this.#settledFile;
    try {
      await writeAside(file, (out) => out.writeFile(JSON.stringify(settled)));
    } catch (cause) {
      throw writeError(cause, file);
    }
  }

  get #settledFile(): string {
    return join(this.dir, 'settled.json');
  }

  /** Stores the next layer. The states after it must be on disk. */
  async finish(
    trained: TrainedPredictor,
    used: boolean,
    arranged: LayerOrder | null = null,
  ): Promise<void> {
    const bytesOf: Record<Part, Uint8Array> = {
      a: trained.a,
      b: trained.b,
      bias: asBytes(trained.bias),
      frequency: trained.frequency,
    };
    let offset = 0;
    const parts = Object.fromEntries(
      partNames.map((part) => {
        const place = {
          offset,
          bytes: bytesOf[part].length,
          checksum: predictorChecksum(bytesOf[part]),
        };
        offset += place.bytes;
        return [part, place];
      }),
    ) as FinishedLayer['parts'];
    const { form, rank, relu, magnitude, report, curve } = trained;
    const shape = { form, rank, relu, ...(magnitude && { magnitude }) };
    const { order, ...arrangement } = arranged ?? {};
    const layer: FinishedLayer = {
      ...shape,
      ...{ report, curve, used, parts },
      ...(arranged && { arrangement: arrangement as Omit<LayerOrder, 'order'> }),
    };
    const index = this.layers.length;
    try {
      const write = (file: string, content: Uint8Array | string) =>
        writeAside(file, (out) => out.writeFile(content));
      if (order !== undefined) {
        const words = new Uint8Array(order.buffer, order.byteOffset, order.byteLength);
        await write(orderFile(this.dir, index), words);
      }
      const weights = Buffer.concat(partNames.map((part) => bytesOf[part]));
      await write(binFile(this.dir, index), weights);
      // The layer counts from the moment this file has its name.
      await write(jsonFile(this.dir, index), JSON.stringify(layer));
    } catch (cause) {
      throw writeError(cause, this.dir);
    }
    this.layers.push(layer);
  }

  /** A finished layer's tensor. */
  async bytes(layer: number, part: Part): Promise<Uint8Array> {
    const { offset = 0, bytes = 0 } = this.layers[layer]?.parts[part] ?? {};
    const all = await readRegular(binFile(this.dir, layer), Number.MAX_SAFE_INTEGER);
    return all.subarray(offset, offset + bytes);
  }

  /** A finished layer's new order of its neurons. */
  order(layer: number, neurons: number): Promise<Uint32Array> {
    return readOrder(this.dir, layer, neurons);
  }

  /** Removes the directory. */
  async remove(): Promise<void> {
    await removeEntry(this.dir);
  }
}

/** Whether this user created the directory, and it is not a link to another place. */
async function isOwnDirectory(dir: string): Promise<boolean> {
  const found = await lstat(dir).catch(() => null);
  if (found === null || !found.isDirectory()) return false;
  const user = process.getuid?.();
  return user === undefined || found.uid === user;
}

function asBytes(values: Float32Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}
