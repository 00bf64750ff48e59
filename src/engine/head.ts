/**
 * Logits: the norm and the projection after the last layer, then the head, or the narrow copy that proposes
 * logits for it.
 */

import { headTensor, type ModelSpec, tensorNames } from '../models/spec.ts';
import type { MemoryPlan } from '../plan/memory-plan.ts';
import type { HeadProposal } from '../residency/head-proposal.ts';
import type { Batch } from './batch.ts';
import type { LayerMath, LayerMathParts } from './layer-math.ts';
import { ProposedHead } from './proposed-head.ts';
import type { BestLogits } from './sampler.ts';

const f32Bytes = 4;

export interface HeadParts extends LayerMathParts {
  readonly plan: MemoryPlan;
  /** Null where every token multiplies the head itself. */
  readonly headProposal?: HeadProposal | null;
}

export class Head {
  readonly #parts: HeadParts;
  readonly #spec: ModelSpec;
  readonly #math: LayerMath;
  /** Null where the head itself is multiplied. */
  readonly #proposed: ProposedHead | null;

  constructor(parts: HeadParts, math: LayerMath) {
    this.#parts = parts;
    this.#math = math;
    this.#spec = parts.files.manifest.spec;
    const { headProposal: proposal = null, weights, plan } = parts;
    const [{ memory, kernels }] = parts.arenas;
    this.#proposed =
      proposal &&
      new ProposedHead({
        ...{ proposal, weights, memory, kernels },
        scratch: plan.activations.scratch,
        vocabSize: this.#spec.vocabSize,
        embeddingSize: this.#spec.embeddingSize,
        passOver: (matrix, bias, y, x, rows) => math.linear(matrix, bias, y, x, rows),
      });
  }

  /**
   * Computes the logits of those rows in `hidden` whose logits are wanted.
   * @returns (batch.logits, vocab), a view that the next call overwrites
   */
  async logits({ logits: wanted, rows }: Batch): Promise<Float32Array> {
    const { plan, files, weights, arenas } = this.#parts;
    const [{ memory, kernels }] = arenas;
    const { hiddenSize, embeddingSize, vocabSize, norm } = this.#spec;
    const { hidden, input, embedding, logits } = plan.activations;
    const positions = wanted.length;
    const rowBytes = hiddenSize * f32Bytes;
    // The last rows are contiguous; the norm gathers others.
    const [together, first] = [wanted[0]?.row === rows - positions, rows - positions];
    let x = hidden + first * rowBytes;
    if (norm.final) {
      if (together) this.#math.norm(tensorNames.finalNorm, input, x, positions);
      else {
        wanted.forEach(({ row }, i) => {
          this.#math.norm(tensorNames.finalNorm, input + i * rowBytes, hidden + row * rowBytes, 1);
        });
      }
      x = input;
    } else if (!together) {
      wanted.forEach(({ row }, i) => {
        kernels.copyRows(input + i * rowBytes, hidden + row * rowBytes, 1, rowBytes, 0, 0);
      });
      x = input;
    }
    if (files.find(tensorNames.projectOut) !== undefined) {
      await this.#math.linear(tensorNames.projectOut, 0, embedding, x, positions);
      x = embedding;
    }
    if (embeddingSize !== hiddenSize && x !== embedding) throw new Error('no project_out');
    const { logitScale, logitSoftCap } = this.#spec;
    if (logitScale !== undefined) kernels.scale(x, positions * embeddingSize, logitScale);
    const bias = weights.vector(tensorNames.headBias);
    if (this.#proposed === null) {
      await this.#math.linear(headTensor(this.#spec), bias, logits, x, positions);
    } else {
      const best = wanted.map(({ wanted: how }) => (typeof how === 'object' ? how : null));
      const wishes =
        logitSoftCap === undefined ? best : best.map((one) => this.#withCap(logitSoftCap, one));
      await this.#proposed.logits(logits, x, bias, wishes);
    }
    if (logitSoftCap !== undefined) {
      kernels.softCap(logits, positions * vocabSize, logitSoftCap);
    }
    return new Float32Array(memory.buffer, logits, positions * vocabSize);
  }

  /** The same request, with bounds on logits before capping. */
  #withCap(cap: number, best: BestLogits | null): BestLogits | null {
    if (best?.suffice === undefined) return best;
    const { suffice } = best;
    return {
      ...best,
      suffice: ({ ids, lower, upper }) =>
        suffice({ ids, lower: this.#capped(lower, cap), upper: this.#capped(upper, cap) }),
    };
  }

  /** Caps `values` by the kernel that caps logits, so that equal values stay equal after capping. */
  #capped(values: Float32Array, cap: number): Float32Array {
    const [{ memory, kernels }] = this.#parts.arenas;
    // The buffer of a sublayer's output is free: it was added before logits are computed.
    const { output } = this.#parts.plan.activations;
    const room = new Float32Array(memory.buffer, output, this.#spec.hiddenSize);
    const result = Float32Array.from(values);
    for (let at = 0; at < result.length; at += room.length) {
      const piece = result.subarray(at, at + room.length);
      room.set(piece);
      kernels.softCap(output, piece.length, cap);
      piece.set(room.subarray(0, piece.length));
    }
    return result;
  }
}
