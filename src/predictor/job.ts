/**
 * Training under way: a directory in the model's, where finished layers and the states behind the
 * last one are kept, so that a run that was stopped or killed goes on where it was.
 */

import { readFileSync } from 'node:fs';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { LayerOrder } from '../arrange/layer-order.ts';
import { writeError } from '../errors.ts';
import { type Part, type PredictorReport, predictorChecksum } from '../flash/predictor-file.ts';
import type { TrainedPredictor } from './layer.ts';
import type { RankCandidate } from './rank.ts';

/** A finished layer, without its weights. */
export interface FinishedLayer {
  readonly form: TrainedPredictor['form'];
  readonly rank: number;
  readonly relu: boolean;
  readonly magnitude?: { readonly threshold: number };
  readonly report: PredictorReport;
  /** See `TrainedPredictor`. */
  readonly curve: readonly RankCandidate[];
  /** Whether predicting pays; else every neuron of the layer is computed. */
  readonly used: boolean;
  readonly parts: Readonly<Record<Part, { offset: number; bytes: number; checksum: number }>>;
  /** What another order of the neurons would be worth; see `LayerOrder`. */
  readonly arrangement?: Omit<LayerOrder, 'order'>;
}

/** What a trial on the first layer has found. */
export interface Settled {
  /** Which predictors are made: rows only, or factors, each layer's compared with rows. */
  readonly method: 'rows' | 'low-rank';
}

const partNames: readonly Part[] = ['a', 'b', 'bias', 'frequency'];

export class TrainingJob {
  readonly dir: string;
  /** Finished layers, from the first on. */
  readonly layers: FinishedLayer[];

  private constructor(dir: string, layers: FinishedLayer[]) {
    this.dir = dir;
    this.layers = layers;
  }

  /**
   * Opens the job in a model's directory: the one that was stopped when it has the same settings,
   * else a new one.
   * @param settings all that results depend on
   */
  static async open(modelDir: string, settings: object): Promise<TrainingJob> {
    const dir = join(modelDir, 'predict-train.partial');
    const text = `${JSON.stringify(settings, null, 1)}\n`;
    try {
      const stored = await readFile(join(dir, 'settings.json'), 'utf8').catch(() => null);
      if (stored === text) return new TrainingJob(dir, readLayers(dir));
      await rm(dir, { recursive: true, force: true });
      await mkdir(dir);
      await writeFile(join(dir, 'settings.json'), text);
      return new TrainingJob(dir, []);
    } catch (cause) {
      throw writeError(cause, dir);
    }
  }

  /** What was settled before the first layer; null until {@link settle}. */
  get settled(): Settled | null {
    try {
      return JSON.parse(readFileSync(join(this.dir, 'settled.json'), 'utf8')) as Settled;
    } catch {
      return null;
    }
  }

  /** Keeps what holds for all layers, so that a run that goes on does as it did before. */
  async settle(settled: Settled): Promise<void> {
    const file = join(this.dir, 'settled.json');
    try {
      await writeFile(`${file}.new`, JSON.stringify(settled));
      await rename(`${file}.new`, file);
    } catch (cause) {
      throw writeError(cause, file);
    }
  }

  /** Keeps the next layer. The states behind it must be on disk. */
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
      if (order !== undefined) await writeFile(orderFile(this.dir, index), order);
      await writeFile(binFile(this.dir, index), Buffer.concat(partNames.map((p) => bytesOf[p])));
      // The layer counts from the moment this file has its name.
      const file = jsonFile(this.dir, index);
      await writeFile(`${file}.new`, JSON.stringify(layer));
      await rename(`${file}.new`, file);
    } catch (cause) {
      throw writeError(cause, this.dir);
    }
    this.layers.push(layer);
  }

  /** A finished layer's tensor. */
  async bytes(layer: number, part: Part): Promise<Uint8Array> {
    const { offset = 0, bytes = 0 } = this.layers[layer]?.parts[part] ?? {};
    const all = await readFile(binFile(this.dir, layer));
    return all.subarray(offset, offset + bytes);
  }

  /** A finished layer's new order. */
  async order(layer: number): Promise<Uint32Array> {
    const bytes = await readFile(orderFile(this.dir, layer));
    return new Uint32Array(new Uint8Array(bytes).buffer);
  }

  /** Removes the directory. */
  async remove(): Promise<void> {
    await rm(this.dir, { recursive: true, force: true });
  }
}

function readLayers(dir: string): FinishedLayer[] {
  const layers: FinishedLayer[] = [];
  for (;;) {
    try {
      layers.push(JSON.parse(readFileSync(jsonFile(dir, layers.length), 'utf8')) as FinishedLayer);
    } catch {
      return layers;
    }
  }
}

const binFile = (dir: string, layer: number) => join(dir, `layer-${layer}.bin`);
const orderFile = (dir: string, layer: number) => join(dir, `layer-${layer}.order`);
const jsonFile = (dir: string, layer: number) => join(dir, `layer-${layer}.json`);

function asBytes(values: Float32Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}
