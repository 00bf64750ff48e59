/**
 * Which neurons of a layer fire together, over sample tokens: for each the few that are most like it.
 * Likeness is the share of tokens, of those at which one of two fires, at which both do (Jaccard), a
 * little less where few tokens say so.
 */

import { yieldToEventLoop } from '../yield-to-event-loop.ts';

/** Neighbours of each neuron, those most like it; an edge may be there twice, from either end. */
export interface Neighbours {
  /** (edges) */
  readonly from: Uint32Array;
  /** (edges) */
  readonly to: Uint32Array;
  /** (edges) above 0, at most 1 */
  readonly likeness: Float32Array;
  readonly count: number;
}

/** As many as fit the paths' needs: each neuron ends up beside two at most. */
const mostNeighbours = 16;
/**
 * Tokens at which others are counted, for each neuron: of more, so many evenly spread ones. All of
 * them took 8.1 s for a layer of 16,384 neurons and 1,024 tokens where these took 6.3, for 0.2% fewer
 * bytes read.
 */
const mostFirings = 64;
/** Of likeness: one token at which two fire, and no other, says less than ten. */
const doubt = 0.5;

/** Neurons between two turns of the event loop: a quarter of a second at 7B. */
const neuronsPerTurn = 512;

/** Ids that {@link sampleSteps} takes at most, 16 MiB with what is made of them. */
const mostIds = 2 * 1024 * 1024;
/** Pairs that are counted, at most: some seconds. */
const mostPairs = 3e9;

/** Bytes that ordering a layer of so many neurons takes. */
export function orderingBytes(neurons: number): number {
  const perNeuron = 4 * 8 + mostNeighbours * 3 * 4 * 2;
  return 2 * 4 * mostIds + neurons * perNeuron;
}

/**
 * Steps, evenly spread, that are enough to count and not too many.
 * @param lengths how many neurons fire at each step
 */
export function sampleSteps(lengths: ArrayLike<number>): number[] {
  let [ids, pairs] = [0, 0];
  for (let i = 0; i < lengths.length; i++) {
    const n = lengths[i] ?? 0;
    ids += n;
    pairs += n * n;
  }
  const stride = Math.max(1, Math.ceil(Math.max(ids / mostIds, pairs / mostPairs)));
  return Array.from({ length: Math.ceil(lengths.length / stride) }, (_, i) => i * stride);
}

/**
 * @param steps of each token the neurons that fire, each once
 * @throws InterruptedError when `signal` aborts
 */
export async function coActivation(
  steps: readonly Uint32Array[],
  neurons: number,
  signal?: AbortSignal,
): Promise<Neighbours> {
  const { starts, at } = invert(steps, neurons);
  const firings = (neuron: number) => (starts[neuron + 1] ?? 0) - (starts[neuron] ?? 0);
  const from = new Uint32Array(neurons * mostNeighbours);
  const to = new Uint32Array(from.length);
  const likeness = new Float32Array(from.length);
  let count = 0;
  const together = new Uint32Array(neurons);
  const met = new Uint32Array(neurons);
  for (let neuron = 0; neuron < neurons; neuron++) {
    if (neuron % neuronsPerTurn === 0) await yieldToEventLoop(signal);
    let found = 0;
    const counted = Math.min(firings(neuron), mostFirings);
    const stride = firings(neuron) / counted;
    for (let i = 0; i < counted; i++) {
      const step = steps[at[(starts[neuron] ?? 0) + Math.floor(i * stride)] ?? 0];
      if (step === undefined) continue;
      for (let k = 0; k < step.length; k++) {
        const other = step[k] as number;
        const n = together[other] as number;
        if (n === 0) met[found++] = other;
        together[other] = n + 1;
      }
    }
    const first = count;
    const own = firings(neuron);
    let least = 0; // that a neighbour must be alike to be among the best
    for (let k = 0; k < found; k++) {
      const other = met[k] as number;
      const n = (together[other] as number) * stride;
      together[other] = 0;
      // Two fire at no fewer tokens than one: most are out without a division.
      if (n - doubt <= least * own || other === neuron) continue;
      const all = firings(other);
      const both = Math.min(n, all);
      const like = (both - doubt) / (own + all - both + doubt);
      if (like <= least) continue;
      // The best so far stand in order behind `first`.
      let place = count - first === mostNeighbours ? count - 1 : count++;
      for (; place > first && (likeness[place - 1] as number) < like; place--) {
        likeness[place] = likeness[place - 1] as number;
        to[place] = to[place - 1] as number;
      }
      likeness[place] = like;
      to[place] = other;
      if (count - first === mostNeighbours) least = likeness[count - 1] as number;
    }
    from.fill(neuron, first, count);
  }
  return { from, to, likeness, count };
}

/** The steps at which each neuron fires: those of neuron i are at[starts[i]] to at[starts[i + 1]]. */
function invert(steps: readonly Uint32Array[], neurons: number) {
  const starts = new Uint32Array(neurons + 1);
  for (const step of steps) for (const id of step) starts[id + 1] = (starts[id + 1] ?? 0) + 1;
  for (let i = 0; i < neurons; i++) starts[i + 1] = (starts[i + 1] ?? 0) + (starts[i] ?? 0);
  const at = new Uint32Array(starts[neurons] ?? 0);
  const next = starts.slice();
  steps.forEach((step, index) => {
    for (const id of step) {
      const place = next[id] ?? 0;
      at[place] = index;
      next[id] = place + 1;
    }
  });
  return { starts, at };
}
