/**
 * Which neurons fire from token to token: the aggregated use s_agg(k) (the paper's section 3.1: the
 * share of an FFN that any of the last k tokens used), and the share that a token newly needs when the
 * neurons of the k tokens before it are kept.
 */

/** Numbers of tokens that are kept. */
export const keptTokens = [1, 2, 3, 4, 5, 6, 8, 12, 16, 24, 32] as const;
/** Tokens of a sequence that only fill the history. */
const warmUp = Math.max(...keptTokens);

/** Shares of an FFN, means over layers and tokens. */
export interface AggregatedUse {
  readonly k: number;
  /** s_agg(k) */
  readonly used: number;
  readonly needed: number;
}

/** Ages of one layer's neurons, token by token. */
class LayerActivity {
  readonly #lastUsed: Int32Array;
  #position = 0;
  /** Tokens counted, and sums over them of shares of the FFN. */
  tokens = 0;
  fired = 0;
  readonly used = new Float64Array(keptTokens.length);
  readonly needed = new Float64Array(keptTokens.length);
  /** Neurons that fire at a token, counted by the number of tokens since they last fired. */
  readonly #ages = new Uint32Array(warmUp + 2);
  /** All neurons, counted by the number of tokens since they last fired, including the present token. */
  readonly #recent = new Uint32Array(warmUp + 1);

  constructor(neurons: number) {
    this.#lastUsed = new Int32Array(neurons);
    this.restart();
  }

  restart(): void {
    this.#position = 0;
    this.#lastUsed.fill(-warmUp - 1);
  }

  token(active: readonly number[]): void {
    const last = this.#lastUsed;
    const position = this.#position++;
    const ages = this.#ages.fill(0);
    for (const neuron of active) {
      ages[Math.min(warmUp + 1, position - (last[neuron] ?? 0))]!++;
      last[neuron] = position;
    }
    if (position < warmUp) return;
    const recent = this.#recent.fill(0);
    for (const used of last) if (position - used <= warmUp) recent[position - used]!++;
    const neurons = last.length;
    this.tokens++;
    this.fired += active.length / neurons;
    // Sums over ages up to the numbers of tokens, one after the other.
    let [age, used, needed] = [0, 0, active.length];
    for (const [i, k] of keptTokens.entries()) {
      for (; age < k; age++) {
        used += recent[age] ?? 0;
        needed -= ages[age + 1] ?? 0;
      }
      this.used[i]! += used / neurons;
      this.needed[i]! += needed / neurons;
    }
  }
}

/** A model's activity over sequences; the first 32 tokens of each only fill the history. */
export class ModelActivity {
  readonly #layers: readonly LayerActivity[];

  /** @param neurons of each layer */
  constructor(neurons: readonly number[]) {
    this.#layers = neurons.map((count) => new LayerActivity(count));
  }

  /** A new sequence begins: nothing was used. */
  restart(): void {
    for (const layer of this.#layers) layer.restart();
  }

  /** The next token of a layer, for which these neurons fire. */
  token(layer: number, active: readonly number[]): void {
    this.#layers[layer]?.token(active);
  }

  /** Tokens that were counted. */
  get tokens(): number {
    return Math.min(...this.#layers.map(({ tokens }) => tokens));
  }

  /** Share of neurons that fire, per layer. */
  get active(): number[] {
    return this.#layers.map(({ fired, tokens }) => fired / tokens);
  }

  /** For each of {@link keptTokens}; empty where no sequence was long enough. */
  get aggregated(): AggregatedUse[] {
    if (this.tokens === 0) return [];
    const mean = (key: 'used' | 'needed', i: number) =>
      this.#layers.reduce((sum, layer) => sum + (layer[key][i] ?? 0) / layer.tokens, 0) /
      this.#layers.length;
    return keptTokens.map((k, i) => ({ k, used: mean('used', i), needed: mean('needed', i) }));
  }
}

/**
 * The share of an FFN that a token newly needs when DRAM holds as much as the last tokens used, between the
 * measured numbers of tokens; it is 0 where DRAM holds all neurons.
 * @param active share that fires
 */
export function neededAt(
  held: number,
  active: number,
  aggregated: readonly AggregatedUse[],
): number {
  const points = [{ used: 0, needed: active }, ...aggregated, { used: 1, needed: 0 }];
  const above = Math.max(
    1,
    points.findIndex(({ used }) => used >= held),
  );
  const [from, to] = [points[above - 1], points[above]];
  if (from === undefined || to === undefined || to.used === from.used) return to?.needed ?? 0;
  const part = (held - from.used) / (to.used - from.used);
  return from.needed + part * (to.needed - from.needed);
}
