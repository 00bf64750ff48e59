/**
 * Runs the next layer's router on this layer's state, to guess which experts it will choose. A state changes
 * little from layer to layer, so that the most likely ones are mostly right.
 */

import { formats } from '../dtype.ts';
import { rowsOf } from '../flash/manifest.ts';
import { matmulOf } from '../kernels/weight-kernels.ts';
import { expertsOf, tensorNames } from '../models/spec.ts';
import type { ExpertBuffers } from '../plan/activations.ts';
import type { MemoryPlan } from '../plan/memory-plan.ts';
import type { LayerMath, LayerMathParts } from './layer-math.ts';
import { largestFirst } from './selectors/top-k.ts';

export interface NextRouterParts extends LayerMathParts {
  readonly math: LayerMath;
  readonly buffers: ExpertBuffers;
  readonly scratch: number;
  readonly topK: number;
  readonly residences: MemoryPlan['residences'];
}

/** The share of a layer's experts that is guessed: guesses of less likely ones are wrong too often. */
const guessedShare = 1 / 2;

export class NextRouter {
  readonly #parts: NextRouterParts;
  /** Per layer the address of its router in the first memory; 0 where it cannot run early. */
  readonly #routers: readonly number[];

  constructor(parts: NextRouterParts) {
    this.#parts = parts;
    const { files, residences, weights } = parts;
    const { spec } = files.manifest;
    const early = spec.block === 'sequential' && spec.norm.placement === 'pre';
    this.#routers = Array.from({ length: spec.layers }, (_, layer) => {
      if (!early || expertsOf(spec, layer) === null) return 0;
      const tensor = files.tensor(`${tensorNames.router(layer)}.weight`);
      const residence = residences.get(tensor);
      // Otherwise a part of it is streamed, and streamed rows are available in their turn only.
      if (residence?.rows !== rowsOf(tensor).rows || residence.arena !== 0) return 0;
      return weights.firstRow(tensor);
    });
  }

  /** Whether the router of a layer can run before its turn. */
  knows(layer: number): boolean {
    return (this.#routers[layer] ?? 0) !== 0;
  }

  /**
   * The experts with the largest logits, the largest first.
   * @param residual (hidden): the state of one position, before any norm
   */
  likeliest(layer: number, residual: number): number[] {
    const { files, arenas, weights, math, buffers, scratch, topK } = this.#parts;
    const { hiddenSize: n, ffn } = files.manifest.spec;
    const { count = 0 } = ffn.experts ?? {};
    const [{ kernels, memory }] = arenas;
    const { gathered, logits } = buffers;
    const plain = ffn.experts?.early === true; // the layer's input, without a norm
    const x = plain ? residual : gathered;
    if (!plain) math.norm(tensorNames.ffnNorm(layer), x, residual, 1);
    const bias = weights.vector(`${tensorNames.router(layer)}.bias`);
    const matmul = matmulOf(kernels, formats.f32, true);
    matmul(logits, x, this.#routers[layer] ?? 0, bias, count, n, 1, n, count, scratch);
    const scores = new Float32Array(memory.buffer, logits, count);
    return largestFirst(scores, Math.ceil(topK * guessedShare));
  }
}
