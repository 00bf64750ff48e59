/** The arithmetic that all sublayers share: products with weights in any memory, and norms. */

import { rowsOf, type StoredTensor } from '../flash/manifest.ts';
import type { ModelFiles } from '../flash/model-files.ts';
import type { Kernels } from '../kernels/kernels.ts';
import type { ModelSpec } from '../models/spec.ts';
import { memoryOf } from '../residency/packing.ts';
import type { Weights } from '../residency/weights.ts';
import type { Arena } from './arena.ts';
import { vectorFrom } from './vector-from.ts';

export interface LayerMathParts {
  readonly files: ModelFiles;
  /** The plan's memories with their kernels: the first, then its arenas. */
  readonly arenas: readonly [Arena, ...Arena[]];
  readonly weights: Weights;
}

/** The values to norm: n of each of `rows` rows. */
export interface NormedRows {
  readonly n: number;
  readonly rows: number;
  /** Elements from one row to the next; n unless given. */
  readonly stride?: number;
  /** Index of the first of the norm's weights to use; 0 unless given. */
  readonly first?: number;
}

/** Addresses are in the first memory; values are f32. */
export class LayerMath {
  readonly #parts: LayerMathParts;
  readonly #spec: ModelSpec;
  readonly #kernels: Kernels;

  constructor(parts: LayerMathParts) {
    this.#parts = parts;
    this.#spec = parts.files.manifest.spec;
    this.#kernels = parts.arenas[0].kernels;
  }

  /**
   * y = W x + bias for `positions` rows of f32, those of x one right after the other.
   * @param bias address of (outputs), or 0
   * @param outputs elements from one row of y to the next; W's number of rows, unless W yields only a part of
   * each row
   */
  async linear(
    matrix: StoredTensor | string,
    bias: number,
    y: number,
    x: number,
    positions: number,
    outputs?: number,
  ): Promise<void> {
    const { weights, files, arenas } = this.#parts;
    const tensor = typeof matrix === 'string' ? files.tensor(matrix) : matrix;
    const [own = 0, columns = 0] = tensor.shape;
    const { rowBytes } = rowsOf(tensor);
    const call = { rowBytes, x, columns, y, outputs: outputs ?? own, bias, positions };
    await weights.eachRows(tensor, (rows) => {
      memoryOf(arenas, rows.arena).linear({ rows, ...call });
    });
  }

  /** {@link linear} with the matrix of a name, and its bias where there is one. */
  async project(
    name: string,
    y: number,
    x: number,
    positions: number,
    outputs?: number,
  ): Promise<void> {
    const bias = this.#parts.weights.vector(`${name}.bias`);
    await this.linear(`${name}.weight`, bias, y, x, positions, outputs);
  }

  /** Rounds rows of n values, the input of a layer's matrix, in place, where the model does. */
  roundInput(x: number, n: number, positions: number): void {
    if (this.#spec.inputBits !== undefined) this.#kernels.roundRows(x, n, positions, n);
  }

  /** y = the model's norm, with the weights `name`, of `positions` rows of the residual stream's width. */
  norm(name: string, y: number, x: number, positions: number): void {
    const { norm, hiddenSize } = this.#spec;
    this.normRows(norm.kind, name, y, x, { n: hiddenSize, rows: positions });
  }

  /** A norm of one kind with the weights `name`, of some rows of x, into y where they lie likewise. */
  normRows(
    kind: 'layer' | 'rms',
    name: string,
    y: number,
    x: number,
    { n, rows, stride = n, first = 0 }: NormedRows,
  ): void {
    const { weights } = this.#parts;
    const { eps } = this.#spec.norm;
    const weight = vectorFrom(weights.vector(`${name}.weight`), first);
    const { layerNorm, rmsNorm } = this.#kernels;
    if (kind === 'rms') rmsNorm(y, x, weight, n, rows, stride, stride, eps);
    else {
      const bias = vectorFrom(weights.vector(`${name}.bias`), first);
      layerNorm(y, x, weight, bias, n, rows, stride, stride, eps);
    }
  }
}
