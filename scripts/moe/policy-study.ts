/** Hit rates of stores of experts, by their policy and size, on recorded routing. */

import { fewestMisses } from '../../src/residency/store-bound.ts';
import {
  FrequencyPolicy,
  type StorePolicy,
  WindowPolicy,
} from '../../src/residency/store-policy.ts';
import { UnitStore } from '../../src/residency/unit-store.ts';
import type { LayerTrace, RoutingTrace } from './trace.ts';

/** A policy that may also use the router's scores of experts that were not chosen. */
interface StudiedPolicy extends StorePolicy {
  /** The softmax of the router's logits of the step that begins. */
  readonly see?: (shares: Float32Array) => void;
}

type MakePolicy = (experts: number) => StudiedPolicy;

/** All uses count equally, however long ago. */
class CountPolicy implements StudiedPolicy {
  readonly #counts: Float64Array;

  constructor(experts: number) {
    this.#counts = new Float64Array(experts);
  }

  step(): number[] {
    return [];
  }

  use(expert: number): void {
    this.#counts[expert] = this.value(expert) + 1;
  }

  value(expert: number): number {
    return this.#counts[expert] ?? 0;
  }
}

/** The router's softmax instead of uses: an expert that was nearly chosen is worth nearly as much. */
class SharePolicy implements StudiedPolicy {
  readonly #values: Float64Array;
  readonly #kept: number;

  /** @param halfLife steps after which a share counts half */
  constructor(experts: number, halfLife: number) {
    this.#values = new Float64Array(experts);
    this.#kept = 2 ** (-1 / halfLife);
  }

  see(shares: Float32Array): void {
    for (const [expert, share] of shares.entries()) {
      this.#values[expert] = this.value(expert) * this.#kept + share;
    }
  }

  step(): number[] {
    return [];
  }

  use(): void {}

  value(expert: number): number {
    return this.#values[expert] ?? 0;
  }
}

const frequency =
  (halfLife: number): MakePolicy =>
  (experts) =>
    new FrequencyPolicy(new Float32Array(experts), { halfLife, prior: 0 });
const window =
  (steps: number): MakePolicy =>
  (experts) =>
    new WindowPolicy(experts, steps);

/** The policies that are compared. */
export const studiedPolicies: ReadonlyMap<string, MakePolicy> = new Map([
  ['window of 5 tokens (the paper)', window(5)],
  ['window of 16 tokens', window(16)],
  ['least recently used', window(Number.POSITIVE_INFINITY)],
  ['least often used', (experts) => new CountPolicy(experts)],
  ...[4, 8, 16, 32, 64, 128].map(
    (steps) => [`frequency and age, half-life ${steps}`, frequency(steps)] as const,
  ),
  ...[8, 32].map(
    (steps) =>
      [`router's shares, half-life ${steps}`, (n: number) => new SharePolicy(n, steps)] as const,
  ),
]);

/** The share of wanted experts that stores of `slots` slots hold. They begin empty. */
export function hitRate(trace: RoutingTrace, make: MakePolicy, slots: number): number {
  let [hits, wanted] = [0, 0];
  for (const { lists, shares } of trace.layers) {
    const policy = make(trace.experts);
    const store = new UnitStore(trace.experts, slots, policy);
    lists.forEach((list, token) => {
      const share = shares[token];
      if (share !== undefined) policy.see?.(share);
      hits += store.want(list).resident;
      wanted += list.length;
    });
  }
  return hits / wanted;
}

/** The same for a store that knows the future and begins with the best experts. */
export function bestHitRate({ layers, experts }: RoutingTrace, slots: number): number {
  const sum = (of: (layer: LayerTrace) => number) =>
    layers.reduce((total, layer) => total + of(layer), 0);
  const missed = sum(({ lists }) => fewestMisses(lists, experts, slots));
  return 1 - missed / sum(({ lists }) => lists.reduce((all, list) => all + list.length, 0));
}
