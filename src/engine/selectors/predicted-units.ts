/** Selectors that score every unit of a layer from the FFN's input (the paper's section 3.1). */

import type { DType } from '../../dtype.ts';
import type { StoredPredictor } from '../../flash/predictor-file.ts';
import { activationCodes } from '../../kernels/constants.ts';
import type { Kernels } from '../../kernels/kernels.ts';
import type { ActivationFunction } from '../../models/spec.ts';
import type { Activations } from '../../plan/activations.ts';
import { bitWords, neuronBlock } from '../../plan/list-layout.ts';
import type { BitSelection, FfnInput, Selector } from '../selection.ts';

const f32Bytes = 4;

/** The data that all layers' predictors share. */
export interface PredictorRoom {
  /** The first memory, where predictors, inputs and scratch lie. */
  readonly memory: WebAssembly.Memory;
  readonly kernels: Kernels;
  /** Of the predictors' matrices. */
  readonly dtype: DType;
  /** Address of a predictor tensor, less its offset in the file. */
  readonly base: number;
  readonly hidden: number;
  /** The most positions at once. */
  readonly chunk: number;
  /** Scratch for unpacked weights that several positions share. */
  readonly scratch: number;
  /** Scratch of predictions; their results are copied from here. */
  readonly work: NonNullable<Activations['lists']>;
}

/** Takes the units with a positive score: those of B f(A x) + bias. */
export class PredictedUnits implements Selector<BitSelection> {
  protected readonly room: PredictorRoom;
  readonly #predictor: StoredPredictor;
  readonly #units: number;

  /** @param units of the layer */
  constructor(room: PredictorRoom, predictor: StoredPredictor, units: number) {
    this.room = room;
    this.#predictor = predictor;
    this.#units = units;
  }

  select({ x, residual, positions }: FfnInput, into: BitSelection): BitSelection {
    const { memory, kernels, work } = this.room;
    const words = bitWords(this.#units);
    this.#score(this.#predictor.input === 'ffn' ? x : residual, positions);
    const { predicted, union } = work;
    const chosen = kernels.unionIds(union, predicted, words, positions, words);
    return into.set(
      new Uint32Array(memory.buffer, predicted, positions * words),
      new Uint32Array(memory.buffer, union, chosen),
      this.#units,
      positions,
    );
  }

  #score(x: number, positions: number): void {
    const { kernels, dtype, base, chunk, scratch, work } = this.room;
    const { rank, b, bias } = this.#predictor;
    const units = this.#units;
    const { matmul } = kernels.byDType[dtype];
    const reduced = this.#reduce(x, positions);
    // As many units at once as the buffer for a chunk's scores holds, in whole words of bits.
    const most = Math.floor((chunk * neuronBlock) / positions / 32) * 32;
    const rowBytes = b.bytes / units;
    const { wanted: scores, predicted } = work;
    for (let first = 0; first < units; first += most) {
      const n = Math.min(most, units - first);
      const rows = base + b.offset + first * rowBytes;
      const folded = base + bias.offset + first * f32Bytes;
      matmul(scores, reduced, rows, folded, n, rank, positions, rank, n, scratch);
      this.compare(scores, positions * n);
      kernels.positiveBits(predicted, scores, first, n, positions, n, bitWords(units));
    }
  }

  /** Makes the scores of taken units positive, among `n` scores; predictors' scores already are. */
  protected compare(_scores: number, _n: number): void {}

  /** f(A x), or x itself where there is no A. */
  #reduce(x: number, positions: number): number {
    const { a, rank, relu } = this.#predictor;
    if (a === null) return x;
    const { kernels, dtype, base, hidden, scratch, work } = this.room;
    const { reduced } = work;
    const { matmul } = kernels.byDType[dtype];
    matmul(reduced, x, base + a.offset, 0, rank, hidden, positions, hidden, rank, scratch);
    if (relu) kernels.activation(reduced, positions * rank, activationCodes.relu);
    return reduced;
  }
}

/** Takes the units whose activation, estimated from coarse rows, has a magnitude above a threshold. */
export class UnitsAboveThreshold extends PredictedUnits {
  readonly #activation: ActivationFunction;
  readonly #threshold: number;

  constructor(
    room: PredictorRoom,
    predictor: StoredPredictor & { readonly magnitude: { readonly threshold: number } },
    units: number,
    activation: ActivationFunction,
  ) {
    super(room, predictor, units);
    this.#activation = activation;
    this.#threshold = predictor.magnitude.threshold;
  }

  protected override compare(scores: number, n: number): void {
    compareMagnitudes(this.room.kernels, scores, n, this.#activation, this.#threshold);
  }
}

/** n gates become positive where |act(gate)| is above the threshold, and 0 elsewhere. */
export function compareMagnitudes(
  kernels: Pick<Kernels, 'activation' | 'multiply'>,
  gates: number,
  n: number,
  activation: ActivationFunction,
  threshold: number,
): void {
  kernels.activation(gates, n, activationCodes[activation]);
  kernels.multiply(gates, gates, n);
  kernels.activation(gates, n, activationCodes.fatrelu, threshold * threshold);
}
