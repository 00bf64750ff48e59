/** Which neurons a layer's FFN will want, told from its input (the paper's section 3.1). */

import { positiveF16 } from '../dtype.ts';
import type { ModelFiles } from '../flash/model-files.ts';
import { predictorWeights, type StoredPredictor } from '../flash/predictor-file.ts';
import { activationCodes } from '../kernels/constants.ts';
import type { Kernels } from '../kernels/kernels.ts';
import type { Activation, ModelSpec } from '../models/spec.ts';
import { createBuffer } from '../pages.ts';
import type { Activations } from '../plan/activations.ts';
import { type PredictorDemand, predictorSpan, vectorSpan } from '../plan/fixed-layout.ts';
import { bitWords, neuronBlock } from '../plan/list-layout.ts';
import type { MemoryPlan, PredictorPlan } from '../plan/memory-plan.ts';

const f32Bytes = 4;

export class Predictor {
  readonly #memory: WebAssembly.Memory;
  readonly #kernels: Kernels;
  readonly #plan: PredictorPlan;
  readonly #activations: Activations;
  readonly #lists: NonNullable<Activations['lists']>;
  /** Address of a predictor tensor, less its offset in the file. */
  readonly #base: number;
  readonly #hidden: number;
  readonly #gateActivation: Activation;
  readonly #chunk: number;

  /** @param memory the first memory, where predictors and their results lie */
  constructor(
    memory: WebAssembly.Memory,
    kernels: Kernels,
    plan: MemoryPlan,
    { hiddenSize, ffn }: Pick<ModelSpec, 'hiddenSize' | 'ffn'>,
  ) {
    const { predictors, activations, chunk } = plan;
    if (predictors === null) throw new Error('the plan has no predictors');
    if (activations.lists === null) throw new Error('the plan has no room for lists');
    this.#memory = memory;
    this.#kernels = kernels;
    this.#plan = predictors;
    this.#chunk = chunk;
    this.#activations = activations;
    this.#lists = activations.lists;
    this.#base = predictors.address - (predictorSpan(predictors.set)?.start ?? 0);
    this.#hidden = hiddenSize;
    this.#gateActivation = ffn.activation;
  }

  /** Where the bits of the last prediction lie: (positions, words). */
  get bits(): number {
    return this.#lists.bits;
  }

  /** Reads the weights to where the plan has them. */
  async load(files: ModelFiles): Promise<void> {
    const { set, address } = this.#plan;
    const span = predictorSpan(set);
    if (span === null) return;
    await files.readTensors(predictorWeights(set), span, this.#memory, address);
  }

  /**
   * Predicts for `positions` inputs x of the FFN, (positions, hidden), and the residual stream, of the
   * same shape, before its norm.
   * @returns the neurons that any of them wants, ascending; valid until the next call
   */
  predict(layer: number, x: number, residual: number, positions: number): Uint32Array {
    const { bits, union } = this.#lists;
    const neurons = this.#plan.layers[layer]?.neurons ?? 0;
    const words = bitWords(neurons);
    const predictor = this.#plan.set.layers[layer] ?? null;
    if (predictor === null) this.#wantAll(neurons, positions);
    else this.#score(predictor, neurons, predictor.input === 'ffn' ? x : residual, positions);
    const count = this.#kernels.unionIds(union, bits, words, positions, words);
    return new Uint32Array(this.#memory.buffer, union, count);
  }

  #score(predictor: StoredPredictor, neurons: number, x: number, positions: number): void {
    const { wanted: scores, bits } = this.#lists;
    const { scratch } = this.#activations;
    const { rank, b, bias, magnitude } = predictor;
    const { matmul } = this.#kernels.byDType[this.#plan.set.dtype];
    const reduced = this.#reduce(predictor, x, positions);
    // As many neurons at once as the scores of a chunk have room for, in whole words of bits.
    const room = Math.floor((this.#chunk * neuronBlock) / positions / 32) * 32;
    const rowBytes = b.bytes / neurons;
    for (let first = 0; first < neurons; first += room) {
      const n = Math.min(room, neurons - first);
      const rows = this.#base + b.offset + first * rowBytes;
      const folded = this.#base + bias.offset + first * f32Bytes;
      matmul(scores, reduced, rows, folded, n, rank, positions, rank, n, scratch);
      if (magnitude !== undefined) this.#compare(scores, positions * n, magnitude.threshold);
      this.#kernels.positiveBits(bits, scores, first, n, positions, n, bitWords(neurons));
    }
  }

  /** f(A x), or x itself where there is no A. */
  #reduce({ a, rank, relu }: StoredPredictor, x: number, positions: number): number {
    if (a === null) return x;
    const { reduced } = this.#lists;
    const { scratch } = this.#activations;
    const { matmul } = this.#kernels.byDType[this.#plan.set.dtype];
    const hidden = this.#hidden;
    matmul(reduced, x, this.#base + a.offset, 0, rank, hidden, positions, hidden, rank, scratch);
    if (relu) this.#kernels.activation(reduced, positions * rank, activationCodes.relu);
    return reduced;
  }

  /** Gates become positive where their activations' magnitude is above the threshold, else 0. */
  #compare(gates: number, n: number, threshold: number): void {
    compareMagnitudes(this.#kernels, gates, n, this.#gateActivation, threshold);
  }

  #wantAll(neurons: number, positions: number): void {
    const words = bitWords(neurons);
    const bits = new Uint32Array(this.#memory.buffer, this.#lists.bits, positions * words);
    bits.fill(0xffffffff);
    const rest = neurons % 32;
    if (rest === 0) return;
    for (let p = 1; p <= positions; p++) bits[p * words - 1] = 2 ** rest - 1;
  }
}

/** n gates become positive where |act(gate)| is above the threshold, and 0 elsewhere. */
export function compareMagnitudes(
  kernels: Pick<Kernels, 'activation' | 'multiply'>,
  gates: number,
  n: number,
  activation: Activation,
  threshold: number,
): void {
  kernels.activation(gates, n, activationCodes[activation]);
  kernels.multiply(gates, gates, n);
  kernels.activation(gates, n, activationCodes.fatrelu, threshold * threshold);
}

/** The predictors as a plan needs them, frequencies read; null where there are none. */
export async function predictorDemand(files: ModelFiles): Promise<PredictorDemand | null> {
  const { predictors: set, manifest } = files;
  if (set === null) return null;
  const tensors = set.layers.flatMap((layer) => layer?.frequency ?? []);
  const span = vectorSpan(tensors);
  // It is let go of as soon as the values are copied.
  const memory = createBuffer(span?.bytes ?? 0);
  if (span !== null) await files.readTensors(tensors, span, memory, 0);
  const layers = manifest.layers.map(({ neurons }, index) => {
    const tensor = set.layers[index]?.frequency;
    const frequency =
      tensor === undefined || span === null
        ? new Float32Array(neurons).fill(1)
        : Float32Array.from(
            new Uint16Array(memory.buffer, tensor.offset - span.start, neurons),
            positiveF16,
          );
    return { neurons, frequency };
  });
  return { set, layers };
}
