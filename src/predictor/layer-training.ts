/** One layer's training: AdamW over its samples, the evaluation of the weights, and their stored form. */

import { byteLength } from '../dtype.ts';
import { Random } from '../engine/random.ts';
import { activationCodes } from '../kernels/constants.ts';
import type { Address } from '../kernels/signature.ts';
import type { WeightKernels } from '../kernels/weight-kernels.ts';
import { yieldToEventLoop } from '../yield-to-event-loop.ts';
import { addCounts, reportOf, ScoreHistogram } from './calibrate.ts';
import { factoriseFloats } from './factorise.ts';
import type { Factors, LayerProblem, TrainedPredictor, TrainingOptions } from './layer.ts';
import { AdamW, rateAt } from './optimiser.ts';
import { loadRows, storedBytes, storeRows } from './rows.ts';

/** Tokens of one step. */
const batch = 128;
/** Held-out tokens that measure progress; at the end, all of them are used. */
const judged = 2048;
/** Evaluations without improvement after which training stops. */
const patience = 4;
const checksPerEpoch = 2;

/** Settings of the loss; docs/LEARNED.md lists the alternatives that were tried. */
const settings = {
  /** Weights of neurons that fire, in units of those that do not; see logistic_gradient. */
  floor: 1,
  gain: 16,
  most: 64,
};

/** Bytes of the region in which layers of these sizes are trained. */
export function trainingBytes(hidden: number, neurons: number, rank: number): number {
  const parameters = rank * (hidden + neurons) + neurons;
  const floats =
    8 * parameters + // weights, best, rounded, gradients, two moments, stored twice
    3 * neurons + // importance, frequency
    batch * (hidden + 2 * neurons + 2 * rank) +
    factoriseFloats(hidden, neurons, rank) +
    16 * (Math.max(hidden, rank) + 64) * 40; // scratch
  return 4 * floats + 64 * 64;
}

/** Buffers for the factors of a rank. */
export function takeFactors(problem: LayerProblem, rank: number): Factors {
  const { work, hidden, neurons } = problem;
  return factorsAt(work.take(parametersOf(problem, rank)), rank, hidden, neurons);
}

function parametersOf({ hidden, neurons }: LayerProblem, rank: number): number {
  return rank * (hidden + neurons) + neurons;
}

function factorsAt(address: Address, rank: number, hidden: number, neurons: number): Factors {
  const b = address + 4 * rank * hidden;
  return { rank, a: address, b, bias: b + 4 * rank * neurons };
}

export class LayerTraining {
  readonly #problem: LayerProblem;
  readonly #options: TrainingOptions;
  readonly #weights: Factors;
  readonly #parameters: number;
  readonly #x: Address;
  readonly #acts: Address;
  readonly #reduced: Address;
  readonly #reducedGradient: Address;
  readonly #scores: Address;
  readonly #scratch: Address;
  readonly #random: Random;
  /** A and B read back from their stored form, with which training computes. */
  readonly #rounded: Pick<Factors, 'a' | 'b'>;
  /** One of them in its stored form. */
  readonly #stored: Address;

  constructor(problem: LayerProblem, weights: Factors) {
    const { work, hidden, neurons } = problem;
    const { rank } = weights;
    this.#problem = problem;
    this.#options = problem.options;
    this.#weights = weights;
    this.#parameters = parametersOf(problem, weights.rank);
    this.#x = work.take(batch * hidden);
    this.#acts = work.take(batch * neurons);
    this.#reduced = work.take(batch * rank);
    this.#reducedGradient = work.take(batch * rank);
    this.#scores = work.take(batch * neurons);
    this.#scratch = work.scratch(Math.max(hidden, rank));
    this.#random = new Random(problem.options.seed + 1);
    this.#rounded = { a: work.take(rank * hidden), b: work.take(neurons * rank) };
    const { dtype } = problem.options;
    const rows = Math.max(rank * byteLength(dtype, hidden), neurons * byteLength(dtype, rank));
    this.#stored = work.take(Math.ceil(rows / 4));
    this.#round();
  }

  /** Runs AdamW over the samples, and ends with the best weights. */
  async run(): Promise<void> {
    const { work, samples, neurons } = this.#problem;
    const n = this.#parameters;
    const gradients = work.take(n);
    const optimiser = new AdamW(work, { weights: this.#weights.a, count: n, biases: neurons });
    const best = work.take(n);
    const importance = work.take(neurons);
    this.#writeImportance(importance);
    const parameters = work.floats(this.#weights.a, n);
    work.floats(best, n).set(parameters);
    const learned = samples.tokens - samples.heldOut;
    const stepsPerEpoch = Math.max(1, Math.floor(learned / batch));
    const steps = stepsPerEpoch * this.#options.epochs;
    const checkEvery = Math.max(1, Math.floor(stepsPerEpoch / checksPerEpoch));
    let order: Uint32Array = new Uint32Array(0);
    let bestCost = this.judge().predicted;
    let chances = patience;
    for (let step = 0; step < steps; step++) {
      const place = step % stepsPerEpoch;
      if (place === 0) order = shuffled(learned, this.#random);
      const tokens = order.subarray(place * batch, Math.min(learned, (place + 1) * batch));
      this.#gradient(tokens, gradients, importance);
      const t = step + 1;
      optimiser.step(rateAt(step, steps), gradients);
      this.#round();
      if (t % checkEvery === 0 || t === steps) {
        const cost = this.judge().predicted;
        if (cost < bestCost) {
          bestCost = cost;
          chances = patience;
          work.floats(best, n).set(parameters);
        } else if (--chances === 0) {
          break;
        }
      }
      if (t % 8 === 0) {
        await yieldToEventLoop(this.#problem.signal);
        this.#problem.onProgress?.(t / steps);
      }
    }
    parameters.set(work.floats(best, n));
    this.#round();
  }

  /** Makes the rounded matrices of the weights. */
  #round(): void {
    const { hidden, neurons, work } = this.#problem;
    const { dtype } = this.#options;
    const { rank, a, b } = this.#weights;
    for (const [rows, columns, from, floats] of [
      [rank, hidden, a, this.#rounded.a],
      [neurons, rank, b, this.#rounded.b],
    ] as const) {
      const stored = this.#stored;
      storeRows(work.kernels, { dtype, rows, columns, floats: from, stored });
      loadRows(work.kernels, { dtype, rows, columns, floats, stored });
    }
  }

  /** The predictor in its stored form, evaluated with the stored weights. */
  finish(): Omit<TrainedPredictor, 'curve'> {
    const { work, hidden, neurons, samples } = this.#problem;
    const { dtype, recall, relu } = this.#options;
    const { rank, a, b, bias } = this.#weights;
    const kernel = work.kernels.byDType[dtype];
    return work.within(() => {
      const store = (rows: number, columns: number, from: Address) => {
        const bytes = storedBytes({ dtype, rows, columns });
        const address = work.take(Math.ceil(bytes / 4));
        storeRows(work.kernels, { dtype, rows, columns, floats: from, stored: address });
        return { address, bytes };
      };
      const storedA = store(rank, hidden, a);
      const storedB = store(neurons, rank, b);
      const heldOut = samples.heldOut;
      const halves = [new ScoreHistogram(), new ScoreHistogram()] as const;
      const visit = (use: (scores: Float32Array, acts: Float32Array, place: number) => void) =>
        this.#scoresOf(heldOut, heldOut, kernel.matmul, storedA.address, storedB.address, use);
      visit((scores, acts, place) =>
        halves[place * 2 < heldOut ? 0 : 1].add(scores, acts, this.#problem.importance),
      );
      // The threshold from either half is evaluated on the other one.
      const [one, two] = halves;
      const report = reportOf(
        addCounts(two.counts(one.threshold(recall)), one.counts(two.threshold(recall))),
      );
      const both = new ScoreHistogram();
      both.merge(one);
      both.merge(two);
      const threshold = both.threshold(recall);
      const folded = work.floats(bias, neurons).map((value) => value - threshold);
      const counted = work.take(neurons);
      const frequency = work.floats(counted, neurons).fill(0);
      visit((scores) => {
        for (let i = 0; i < neurons; i++) if ((scores[i] ?? 0) > threshold) frequency[i]!++;
      });
      for (let i = 0; i < neurons; i++) frequency[i]! /= heldOut;
      const stored = work.take(Math.ceil(neurons / 2));
      work.kernels.byDType.f16.fromF32(stored, counted, neurons);
      const bytesAt = ({ address, bytes }: { address: number; bytes: number }) =>
        new Uint8Array(work.memory.buffer, address, bytes).slice();
      return {
        form: 'factors',
        rank,
        relu,
        a: bytesAt(storedA),
        b: bytesAt(storedB),
        bias: folded,
        frequency: bytesAt({ address: stored, bytes: 2 * neurons }),
        report,
      };
    });
  }

  /** The shares of neurons that must be predicted, and that fire, on some held-out tokens. */
  judge(): { readonly predicted: number; readonly active: number } {
    const { work, samples, importance } = this.#problem;
    const histogram = new ScoreHistogram();
    const { a, b } = this.#rounded;
    const { matmul } = work.kernels.byDType.f32;
    this.#scoresOf(samples.heldOut, judged, matmul, a, b, (scores, acts) =>
      histogram.add(scores, acts, importance),
    );
    const threshold = histogram.threshold(this.#options.recall);
    const { predicted, fired, neurons } = histogram.counts(threshold);
    return { predicted: predicted / neurons, active: fired / neurons };
  }

  /** Calls `use` with the scores of up to `most` of the held-out tokens, spread evenly. */
  #scoresOf(
    heldOut: number,
    most: number,
    matmul: WeightKernels['matmul'],
    a: Address,
    b: Address,
    use: (scores: Float32Array, activations: Float32Array, place: number) => void,
  ): void {
    const { work, samples, neurons } = this.#problem;
    const count = Math.min(most, heldOut);
    const first = samples.tokens - heldOut;
    for (let at = 0; at < count; at += batch) {
      const places = Array.from({ length: Math.min(batch, count - at) }, (_, i) =>
        Math.floor(((at + i) * heldOut) / count),
      );
      samples.read(
        places.map((place) => first + place),
        this.#x,
        this.#acts,
      );
      this.#forward(places.length, matmul, a, b);
      places.forEach((place, i) => {
        const row = 4 * i * neurons;
        const scores = work.floats(this.#scores + row, neurons);
        use(scores, work.floats(this.#acts + row, neurons), place);
      });
    }
  }

  /** scores = B f(A x) + bias for the positions in x. */
  #forward(positions: number, matmul: WeightKernels['matmul'], a: Address, b: Address): void {
    const { work, hidden, neurons } = this.#problem;
    const { rank, bias } = this.#weights;
    const reduced = this.#reduced;
    matmul(reduced, this.#x, a, 0, rank, hidden, positions, hidden, rank, this.#scratch);
    if (this.#options.relu)
      work.kernels.activation(reduced, positions * rank, activationCodes.relu);
    matmul(this.#scores, reduced, b, bias, neurons, rank, positions, rank, neurons, this.#scratch);
  }

  /** Gradients of the mean loss over these tokens with respect to A, B and bias. */
  #gradient(tokens: Uint32Array, gradients: Address, importance: Address): void {
    const { work, hidden, neurons, samples } = this.#problem;
    const { rank } = this.#weights;
    const { a, b } = this.#rounded;
    const { kernels } = work;
    const positions = tokens.length;
    const target = factorsAt(gradients, rank, hidden, neurons);
    samples.read(tokens, this.#x, this.#acts);
    this.#forward(positions, kernels.byDType.f32.matmul, a, b);
    const scores = this.#scores;
    const { floor, most } = settings;
    const scale = 1 / positions;
    kernels.logisticGradient(
      scores,
      this.#acts,
      importance,
      neurons,
      positions,
      neurons,
      neurons,
      floor,
      most,
      1,
    );
    kernels.scale(scores, positions * neurons, scale);
    // For B: scores^T reduced; for the bias: the sum of the scores; for reduced: scores B; for A: that^T x.
    kernels.gemm(
      target.b,
      scores,
      this.#reduced,
      neurons,
      rank,
      positions,
      1,
      neurons,
      rank,
      rank,
      0,
    );
    work.floats(target.bias, neurons).fill(0);
    kernels.fold(target.bias, scores, positions, neurons, neurons);
    const inner = this.#reducedGradient;
    kernels.gemm(inner, scores, b, positions, rank, neurons, neurons, 1, rank, rank, 0);
    if (this.#options.relu) {
      const passed = work.floats(this.#reduced, positions * rank);
      const values = work.floats(inner, positions * rank);
      for (let i = 0; i < values.length; i++) if (passed[i] === 0) values[i] = 0;
    }
    kernels.gemm(target.a, inner, this.#x, rank, hidden, positions, 1, rank, hidden, hidden, 0);
  }

  /** The cost of missing a unit of activation, scaled so that a typical activation costs `gain`. */
  #writeImportance(target: Address): void {
    const { work, neurons, importance } = this.#problem;
    let sum = 0;
    let fired = 0;
    this.#eachSample((acts) => {
      for (let i = 0; i < neurons; i++) {
        const value = acts[i] ?? 0;
        if (value === 0) continue;
        sum += Math.abs(value) * (importance[i] ?? 0);
        fired++;
      }
    });
    const unit = fired === 0 || sum === 0 ? 1 : settings.gain / (sum / fired);
    work.floats(target, neurons).set(importance.map((value) => value * unit));
  }

  /** Some of the tokens for learning. */
  #eachSample(use: (activations: Float32Array) => void): void {
    const { work, samples, neurons } = this.#problem;
    const learned = samples.tokens - samples.heldOut;
    const places = Array.from({ length: Math.min(batch, learned) }, (_, i) =>
      Math.floor((i * learned) / Math.min(batch, learned)),
    );
    samples.read(places, this.#x, this.#acts);
    for (const i of places.keys()) use(work.floats(this.#acts + 4 * i * neurons, neurons));
  }
}

function shuffled(count: number, random: Random): Uint32Array {
  const order = Uint32Array.from({ length: count }, (_, i) => i);
  for (let i = count - 1; i > 0; i--) {
    const j = Math.floor(random.next() * (i + 1));
    [order[i], order[j]] = [order[j] ?? 0, order[i] ?? 0];
  }
  return order;
}
