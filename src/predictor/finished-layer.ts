/**
 * Finished layers of a training, as stored in its directory. A run that resumes another one's work accepts a
 * layer that fits the model, its recorded checksums and its length; otherwise it starts again from the
 * beginning.
 */

import { lstat, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import * as v from 'valibot';
import type { LayerOrder } from '../arrange/layer-order.ts';
import { parseJson } from '../checkpoint/json-file.ts';
import type { Manifest } from '../flash/manifest.ts';
import { isPermutation } from '../flash/manifest-check.ts';
import { hasFactors, type Part, partBytes, reportSchema } from '../flash/predictor-file.ts';
import { readRegular } from '../regular-file.ts';
import { predictorDType } from './settings.ts';

export const partNames: readonly Part[] = ['a', 'b', 'bias', 'frequency'];

const count = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
const rank = v.pipe(v.number(), v.safeInteger(), v.minValue(1));
const amount = v.pipe(v.number(), v.finite(), v.minValue(0));
const partSchema = v.object({ offset: count, bytes: count, checksum: count });

const layerSchema = v.object({
  form: v.picklist(['factors', 'rows']),
  rank,
  relu: v.boolean(),
  magnitude: v.optional(v.object({ threshold: amount })),
  report: reportSchema,
  /** See `TrainedPredictor`. */
  curve: v.pipe(v.array(v.object({ rank, predicted: amount })), v.readonly()),
  /** Whether predicting pays; else every neuron of the layer is computed. */
  used: v.boolean(),
  parts: v.object({ a: partSchema, b: partSchema, bias: partSchema, frequency: partSchema }),
  /** The effect of another order of the neurons; see `LayerOrder`. */
  arrangement: v.optional(
    v.object({ readBefore: amount, readAfter: amount } satisfies Record<
      keyof Omit<LayerOrder, 'order'>,
      unknown
    >),
  ),
});

/** A finished layer, without its weights. */
export type FinishedLayer = v.InferOutput<typeof layerSchema>;

export const binFile = (dir: string, layer: number) => join(dir, `layer-${layer}.bin`);
export const orderFile = (dir: string, layer: number) => join(dir, `layer-${layer}.order`);
export const jsonFile = (dir: string, layer: number) => join(dir, `layer-${layer}.json`);
/** The states of all tokens before a layer. */
export const statesFile = (dir: string, layer: number) => join(dir, `hidden-${layer % 2}.f32`);

/** Bytes of a layer's JSON: its curve is the longest part. */
const longestJson = 1024 * 1024;

/**
 * The finished layers in `dir`, from the first on; null when training cannot be resumed from them.
 * @param stateBytes the most bytes of the states between two layers
 */
export async function readFinishedLayers(
  dir: string,
  manifest: Manifest,
  stateBytes: readonly number[],
): Promise<FinishedLayer[] | null> {
  const names = await readdir(dir);
  const there = names.filter((name) => /^layer-\d+\.json$/.test(name)).length;
  const all = manifest.layers.length;
  if (there > all) return null;
  const layers: FinishedLayer[] = [];
  for (let index = 0; index < there; index++) {
    const layer = await readFinishedLayer(dir, manifest, index).catch(() => null);
    if (layer === null) return null;
    layers.push(layer);
  }
  if (there === 0 || there === all) return layers;
  const states = await lstat(statesFile(dir, there)).catch(() => null);
  return states?.isFile() && stateBytes.includes(states.size) ? layers : null;
}

async function readFinishedLayer(
  dir: string,
  manifest: Manifest,
  index: number,
): Promise<FinishedLayer | null> {
  const path = jsonFile(dir, index);
  const parsed = v.safeParse(layerSchema, parseJson(await readRegular(path, longestJson), path));
  if (!parsed.success) return null;
  const layer = parsed.output;
  const { hiddenSize, ffn } = manifest.spec;
  const gates = !hasFactors(layer);
  if (gates && layer.rank !== hiddenSize) return null;
  const sizes = partNames.map((part) =>
    // Rows over the whole input have no A.
    gates && part === 'a' ? 0 : partBytes(manifest, index, layer, part, predictorDType),
  );
  const expected = sizes.reduce((sum, bytes) => sum + bytes, 0);
  const content = await readRegular(binFile(dir, index), expected);
  let end = 0;
  for (const [i, part] of partNames.entries()) {
    const { offset, bytes, checksum } = layer.parts[part];
    if (offset !== end || bytes !== sizes[i]) return null;
    end += bytes;
    if (crc32(content.subarray(offset, end)) !== checksum) return null;
  }
  if (end !== content.length) return null;
  if (layer.arrangement === undefined) return layer;
  const order = await readOrder(dir, index, ffn.neurons);
  return isPermutation(order, ffn.neurons) ? layer : null;
}

/** A finished layer's new order. */
export async function readOrder(dir: string, layer: number, neurons: number): Promise<Uint32Array> {
  const bytes = await readRegular(orderFile(dir, layer), 4 * neurons);
  return new Uint32Array(new Uint8Array(bytes).buffer);
}
