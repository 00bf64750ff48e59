/**
 * Why a generated token reads as many bytes as it does: the bytes of neurons that fire, times the factor of
 * neurons that predictors add, times the share that misses the stores, times the overhead of reads; and a
 * comparison with the misses that no store could avoid.
 */

import type { BundleLayer } from '../flash/manifest.ts';
import { fewestMisses, WantedTrace } from '../residency/store-bound.ts';
import type { StoreSimulation } from '../residency/store-simulation.ts';
import { MIB } from '../units.ts';
import { type AggregatedUse, ModelActivity, neededAt } from './activity.ts';

/** Bytes of neurons, per token unless stated otherwise. */
export interface ReadingFactors {
  readonly activeBytes: number;
  readonly predictedBytes: number;
  /** Predicted bytes that are not in the stores. */
  readonly missedBytes: number;
  /** Bytes read for them, including short reads rounded up and gaps bridged. */
  readonly readBytes: number;
  readonly reads: number;
  /** Share of all neurons that have a slot. */
  readonly dramShare: number;
  /**
   * The misses of these stores over the first `tokens`, and the misses of stores of the same sizes that know
   * the future, on the same lists; see `fewestMisses`.
   */
  readonly bound: {
    readonly tokens: number;
    readonly missedBytes: number;
    readonly leastBytes: number;
  };
  /** Empty where the text has no document of more than 32 tokens. */
  readonly aggregated: readonly AggregatedUse[];
  /**
   * Bytes of firing neurons that a token newly needs when the slots keep the neurons of as many of the last
   * tokens as they have room for.
   */
  readonly necessaryBytes: number;
}

/** Memory for lists, kept for the store that knows the future. */
const traceBytes = 4 * MIB;
/** Bytes per neuron for the book-keeping of a simulated store and for its activity. */
const bytesPerNeuron = 64;
/** Bytes of temporary lists: one layer's of the trace, and others not yet collected as garbage. */
const passingBytes = 10 * MIB;

/** Bytes of process memory that recording takes. */
export function recordingBytes(layers: readonly BundleLayer[]): number {
  const neurons = layers.reduce((sum, layer) => sum + layer.neurons, 0);
  return traceBytes + passingBytes + bytesPerNeuron * neurons;
}

/** Follows the lists of predicted neurons and of those that fire. */
export class ReadingRecorder {
  readonly #layers: readonly BundleLayer[];
  readonly #stores: StoreSimulation;
  readonly #trace: WantedTrace;
  readonly #activity: ModelActivity;
  #steps = 0;
  #activeBytes = 0;
  /** Per layer, the bytes that the stores missed of each list in the trace. */
  readonly #missedBytes: readonly number[][];

  constructor(layers: readonly BundleLayer[], stores: StoreSimulation) {
    const neurons = layers.map((layer) => layer.neurons);
    this.#layers = layers;
    this.#stores = stores;
    this.#trace = new WantedTrace(neurons, traceBytes);
    this.#activity = new ModelActivity(neurons);
    this.#missedBytes = layers.map(() => []);
  }

  /** A new sequence begins. */
  restart(): void {
    this.#activity.restart();
  }

  /** A layer of a token wants these neurons, ascending. */
  wanted(layer: number, wanted: Uint32Array): void {
    if (layer === 0) this.#steps++;
    const { missedBytes } = this.#stores.totals;
    this.#trace.add(layer, wanted);
    this.#stores.step(layer, wanted);
    const missed = this.#stores.totals.missedBytes - missedBytes;
    if (!this.#trace.full) this.#missedBytes[layer]?.push(missed);
  }

  /** These neurons fire. */
  fired(layer: number, active: readonly number[]): void {
    this.#activeBytes += active.length * (this.#layers[layer]?.bundleBytes ?? 0);
    this.#activity.token(layer, active);
  }

  get factors(): ReadingFactors {
    const { wantedBytes, missedBytes, readBytes, reads } = this.#stores.totals;
    const perToken = (sum: number) => (this.#steps === 0 ? 0 : sum / this.#steps);
    const slots = this.#stores.slots;
    const bytes = (count: (layer: number) => number) =>
      this.#layers.reduce((sum, { bundleBytes }, i) => sum + count(i) * bundleBytes, 0);
    const all = bytes((layer) => this.#layers[layer]?.neurons ?? 0);
    const dramShare = bytes((layer) => slots[layer] ?? 0) / all;
    const { aggregated } = this.#activity;
    const activeBytes = perToken(this.#activeBytes);
    const { tokens } = this.#trace;
    const least = bytes((layer) =>
      fewestMisses(this.#trace.lists(layer), this.#layers[layer]?.neurons ?? 0, slots[layer] ?? 0),
    );
    const traced = this.#missedBytes
      .flatMap((steps) => steps.slice(0, tokens))
      .reduce((sum, missed) => sum + missed, 0);
    return {
      activeBytes,
      predictedBytes: perToken(wantedBytes),
      missedBytes: perToken(missedBytes),
      readBytes: perToken(readBytes),
      reads: perToken(reads),
      dramShare,
      bound: {
        tokens,
        missedBytes: traced / Math.max(1, tokens),
        leastBytes: least / Math.max(1, tokens),
      },
      aggregated,
      necessaryBytes: all * neededAt(dramShare, activeBytes / all, aggregated),
    };
  }
}
