/**
 * Computes what unit stores would read, without reading: lists of wanted neurons suffice to compare policies
 * and sizes, and `eval` reports from them what generation would cost.
 */

import type { DeviceFile } from '../flash/device-file.ts';
import { type Extent, planReads, type ReadLimits } from '../flash/read-plan.ts';
import { hottest, type LayerDemand } from '../plan/share-slots.ts';
import { createPolicy, type PolicyName, type StorePolicy } from './store-policy.ts';
import { UnitStore, unitState } from './unit-store.ts';

export interface SimulatedLayer extends LayerDemand {
  readonly bundleBytes: number;
  readonly slots: number;
}

export interface SimulationTotals {
  /** Bytes of wanted neurons, and of those not in the store. */
  readonly wantedBytes: number;
  readonly missedBytes: number;
  /** Bytes read for those, including short reads rounded up and gaps bridged, as suits the device. */
  readonly readBytes: number;
  readonly reads: number;
}

/** A file of unlimited length, for planning reads. */
const file = { path: '', size: Number.MAX_SAFE_INTEGER, alignment: 512 } as DeviceFile;

export class StoreSimulation {
  readonly #layers: readonly SimulatedLayer[];
  readonly #stores: readonly UnitStore[];
  readonly #limits: Omit<ReadLimits, 'lanes'>;
  readonly #target: Uint8Array;
  #wantedBytes = 0;
  #missedBytes = 0;
  #readBytes = 0;
  #reads = 0;

  /** @param policy a name, or a function that makes a policy from a layer's frequencies */
  constructor(
    layers: readonly SimulatedLayer[],
    policy: PolicyName | ((frequency: Float32Array) => StorePolicy),
    limits: Omit<ReadLimits, 'lanes'>,
  ) {
    this.#layers = layers;
    this.#limits = limits;
    this.#target = new Uint8Array(Math.max(0, ...layers.map(({ bundleBytes }) => bundleBytes)));
    this.#stores = layers.map((layer) => {
      const { neurons, slots, frequency } = layer;
      const chosen =
        typeof policy === 'function' ? policy(frequency) : createPolicy(policy, frequency);
      const store = new UnitStore(neurons, slots, chosen);
      // As in UnitStores: a window begins empty.
      const warm = typeof policy !== 'number';
      for (const id of warm ? hottest(layer, slots) : []) store.preload(id);
      return store;
    });
  }

  /** Simulates a layer's step of one token, which wants these neurons. */
  step(layer: number, wanted: Uint32Array): void {
    const { bundleBytes } = this.#layers[layer] ?? { bundleBytes: 0 };
    const { states, resident } = this.#stores[layer]?.want(wanted) ?? { states: [], resident: 0 };
    this.#wantedBytes += wanted.length * bundleBytes;
    this.#missedBytes += (wanted.length - resident) * bundleBytes;
    const target = this.#target.subarray(0, bundleBytes);
    const extents: Extent[] = [];
    wanted.forEach((id, i) => {
      if (states[i] !== unitState.resident)
        extents.push({ file, position: id * bundleBytes, target });
    });
    for (const { bytes } of planReads(extents, { ...this.#limits, lanes: 32 })) {
      this.#readBytes += bytes;
      this.#reads++;
    }
  }

  /** Number of neurons that fit, per layer. */
  get slots(): number[] {
    return this.#layers.map(({ slots }) => slots);
  }

  get totals(): SimulationTotals {
    return {
      wantedBytes: this.#wantedBytes,
      missedBytes: this.#missedBytes,
      readBytes: this.#readBytes,
      reads: this.#reads,
    };
  }
}
