/** The order of a layer's neurons, learned from sample tokens, and its effect on held-out tokens. */

import type { BundleLayer } from '../flash/manifest.ts';
import { type ReadLimits, smallestRead } from '../flash/read-plan.ts';
import { StoreSimulation } from '../residency/store-simulation.ts';
import { yieldToEventLoop } from '../yield-to-event-loop.ts';
import { coActivation, sampleSteps } from './co-activation.ts';
import { orderOf, placesIn } from './neuron-order.ts';

/** The neurons that fired at each sample token; the last `heldOut` tokens are not used for learning. */
export interface ActiveSamples {
  readonly count: number;
  readonly heldOut: number;
  activeCount(index: number): number;
  /** Ascending ids. */
  active(index: number): Uint32Array;
}

export interface LayerOrder {
  /** (neurons): the neuron at each place. */
  readonly order: Uint32Array;
  /** Bytes read over the held-out tokens before and after. */
  readonly readBefore: number;
  readonly readAfter: number;
}

/**
 * Share of the neurons that counts as resident when reads are counted, as in the paper: those that fire most.
 */
const residentShare = 0.25;

/** Held-out tokens processed between two turns of the event loop. */
const tokensPerTurn = 32;

/** Whether the order can matter: it cannot where each neuron is as long as the smallest read. */
export function ordersMatter({ bundleBytes }: Pick<BundleLayer, 'bundleBytes'>): boolean {
  return bundleBytes < smallestRead;
}

/**
 * Finds an order for a layer's neurons.
 * @throws InterruptedError when `signal` aborts
 */
export async function arrangeLayer(
  samples: ActiveSamples,
  { neurons, bundleBytes }: Pick<BundleLayer, 'neurons' | 'bundleBytes'>,
  limits: Omit<ReadLimits, 'lanes'>,
  signal?: AbortSignal,
): Promise<LayerOrder> {
  const learned = Math.max(0, samples.count - samples.heldOut);
  const lengths = Uint32Array.from({ length: learned }, (_, i) => samples.activeCount(i));
  const steps = sampleSteps(lengths).map((index) => samples.active(index));
  const order = orderOf(await coActivation(steps, neurons, signal), neurons);
  const frequency = new Float32Array(neurons);
  for (const step of steps) {
    for (const id of step) frequency[id] = (frequency[id] ?? 0) + 1 / steps.length;
  }
  const readBytes = async (at: Uint32Array | null) => {
    const moved =
      at === null ? frequency : frequency.map((_, place) => frequency[order[place] ?? 0] ?? 0);
    const slots = Math.floor(residentShare * neurons);
    const layer = { neurons, bundleBytes, slots, frequency: moved };
    const simulation = new StoreSimulation([layer], 'auto', limits);
    for (let index = learned; index < samples.count; index++) {
      if (index % tokensPerTurn === 0) await yieldToEventLoop(signal);
      const active = samples.active(index);
      simulation.step(0, at === null ? active : active.map((id) => at[id] ?? 0).sort());
    }
    return simulation.totals.readBytes;
  };
  const readBefore = await readBytes(null);
  return { order, readBefore, readAfter: await readBytes(placesIn(order)) };
}
