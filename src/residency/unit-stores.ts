/** The unit stores of all layers: their book-keeping, and the reads into their slots. */

import type { Format } from '../dtype.ts';
import { InterruptedError } from '../errors.ts';
import type { FfnUnits } from '../flash/ffn-units.ts';
import { type StoredTensor, weightFormat } from '../flash/manifest.ts';
import type { ModelFiles } from '../flash/model-files.ts';
import type { StoredPredictor } from '../flash/predictor-file.ts';
import type { ModelSpec } from '../models/spec.ts';
import { forEachParallel } from '../parallel.ts';
import type { StorePlace } from '../plan/places.ts';
import { hottest, type LayerDemand } from '../plan/share-slots.ts';
import { memoryOf, packInPlace, type WeightMemory } from './packing.ts';
import { SpeculationThrottle } from './speculation-throttle.ts';
import { createPolicy, type PolicyName } from './store-policy.ts';
import { storeScratch, UnitStore } from './unit-store.ts';

const loadBytes = 1024 * 1024;
const loadsInFlight = 16;

/** One layer's store and where its slots lie. */
export interface LayerStore {
  readonly store: UnitStore;
  readonly place: StorePlace;
  /** The layer's FFN, and where its units lie in the file. */
  readonly units: FfnUnits;
  readonly tensor: StoredTensor;
  readonly throttle: SpeculationThrottle;
  /** Format of its units: packed where all of them are resident. */
  format: Format;
}

export class UnitStores {
  readonly layers: readonly LayerStore[];

  private constructor(layers: readonly LayerStore[]) {
    this.layers = layers;
  }

  /**
   * Creates the stores and fills them with the units that are wanted most; the window policy begins empty.
   */
  static async load(
    files: ModelFiles,
    plan: { readonly stores: readonly StorePlace[]; readonly demand: readonly LayerDemand[] },
    memories: readonly WeightMemory[],
    policy: PolicyName,
    onProgress?: (doneBytes: number, totalBytes: number) => void,
    signal?: AbortSignal,
  ): Promise<UnitStores> {
    // Only one FFN is in progress at a time, so the stores share the scratch.
    const scratch = storeScratch(Math.max(...files.manifest.layers.map(({ neurons }) => neurons)));
    const layers = plan.stores.map((place, layer): LayerStore => {
      const units = files.manifest.ffns[layer]?.[0];
      if (units === undefined) throw new Error(`layer ${layer} has no FFN`);
      const { count } = units;
      const { frequency = new Float32Array(count) } = plan.demand[layer] ?? {};
      // The paper's window reads nothing ahead; where all units fit, there is nothing to read.
      const speculates =
        policy === 'auto' &&
        place.slots < count &&
        maySpeculate(files.manifest.spec, files.predictors?.layers[layer] ?? null);
      const throttle = new SpeculationThrottle(speculates ? place.slots : 0);
      const { reserve } = throttle;
      const tensor = files.tensor(units.tensor);
      return {
        store: new UnitStore(count, place.slots, createPolicy(policy, frequency), reserve, scratch),
        throttle,
        place,
        units,
        tensor,
        format: weightFormat(tensor, files.manifest),
      };
    });
    const pieces = layers.flatMap((layer, index) => {
      const demand = plan.demand[index];
      const warm = demand !== undefined && policy === 'auto';
      const ids = warm ? hottest(demand, layer.store.capacity) : [];
      const step = Math.max(1, Math.floor(loadBytes / layer.units.unitBytes));
      const addresses = ids.map((id) => addressOf(layer, layer.store.preload(id)));
      return Array.from({ length: Math.ceil(ids.length / step) }, (_, i) => ({
        layer,
        rows: ids.slice(i * step, (i + 1) * step),
        addresses: addresses.slice(i * step, (i + 1) * step),
      }));
    });
    const total = layers.reduce((sum, { place, units }) => sum + place.slots * units.unitBytes, 0);
    let done = 0;
    await forEachParallel(pieces, loadsInFlight, async ({ layer, rows, addresses }) => {
      if (signal?.aborted) throw new InterruptedError();
      const { memory } = memoryOf(memories, layer.place.arena);
      const request = files.requestScattered(layer.tensor, { rows, addresses }, memory, {
        priority: 'prefetch',
      });
      await request.done;
      done += rows.length * layer.units.unitBytes;
      onProgress?.(done, total);
    });
    // Where neurons are evicted, packing each new one would take longer than it saves.
    for (const layer of layers) {
      const { store, place, tensor } = layer;
      if (policy !== 'auto' || store.capacity < store.units) continue;
      const memory = memoryOf(memories, layer.place.arena);
      const { address } = place;
      layer.format = packInPlace(memory, files.manifest, tensor, address, store.units).format;
    }
    return new UnitStores(layers);
  }

  layer(index: number): LayerStore {
    const found = this.layers[index];
    if (found === undefined) throw new Error(`no unit store for layer ${index}`);
    return found;
  }
}

/**
 * Whether units may be read before a layer's attention; if not, no slot is kept free for that. A parallel
 * block's FFN begins before attention anyway; without a norm before the FFN, its units cannot be guessed from
 * the state before attention; and a predictor without A is as large as the gates, so that running it twice
 * costs more than waiting.
 */
function maySpeculate({ block, norm }: ModelSpec, predictor: StoredPredictor | null): boolean {
  const normed = norm.placement === 'pre' || norm.placement === 'both';
  return block !== 'parallel' && normed && (predictor?.a ?? null) !== null;
}

/** Where a slot's unit lies in its memory. */
export function addressOf({ place, units }: LayerStore, slot: number): number {
  return place.address + slot * units.unitBytes;
}
