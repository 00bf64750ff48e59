/**
 * Why a generated token reads what it reads: bytes that fire, times what predictors name besides, times
 * the share that is missed, times what reads bring along; and the same beside what no store could avoid.
 */

import type { BundleLayer } from '../flash/manifest.ts';
import { fewestMisses, WantedTrace } from '../residency/store-bound.ts';
import type { StoreSimulation } from '../residency/store-simulation.ts';
import { MIB } from '../units.ts';
import { type AggregatedUse, ModelActivity, neededAt } from './activity.ts';

/** Bytes of neurons, per token where nothing else is said. */
export interface ReadingFactors {
  readonly activeBytes: number;
  readonly predictedBytes: number;
  /** Of those predicted, what is not in the stores. */
  readonly missedBytes: number;
  /** What is read for that: short reads raised, gaps bridged. */
  readonly readBytes: number;
  readonly reads: number;
  /** Share of all neurons that have a slot. */
  readonly dramShare: number;
  /**
   * What stores of these sizes that know the future would miss of the same lists, beside what ours
   * missed, over the first `tokens`; see `fewestMisses`.
   */
  readonly bound: {
    readonly tokens: number;
    readonly missedBytes: number;
    readonly leastBytes: number;
  };
  /** Empty where the text has no document of more than 32 tokens. */
  readonly aggregated: readonly AggregatedUse[];
  /**
   * Of the neurons that fire, what a token newly needs when the last tokens' neurons are kept, of as
   * many tokens as the slots have room for.
   */
  readonly necessaryBytes: number;
}

/** What lists are kept in, for the store that knows the future. */
const traceBytes = 4 * MIB;
/** Of a neuron in the books of a simulated store, and of its activity. */
const bytesPerNeuron = 64;
/** Lists that pass: one layer's of the trace, and what the garbage collector leaves of others. */
const passingBytes = 10 * MIB;

/** What recording takes of the process, in bytes. */
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
  /** What the stores missed of each list in the trace, per layer. */
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
