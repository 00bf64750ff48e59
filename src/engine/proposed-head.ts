/** Logits from single rows of a head; a copy of the head in few bits has told which rows matter. */

import type { StoredTensor } from '../flash/manifest.ts';
import type { Kernels } from '../kernels/kernels.ts';
import { weightKernels } from '../kernels/weight-kernels.ts';
import type { HeadProposal } from '../residency/head-proposal.ts';
import type { Weights } from '../residency/weights.ts';
import type { BestLogits } from './sampler.ts';
import { vectorFrom } from './vector-from.ts';

const f32Bytes = 4;
/** The number of the head's rows that are read first where a few may suffice. */
const fewCandidates = 16;

export interface ProposedHeadParts {
  readonly proposal: HeadProposal;
  readonly weights: Weights;
  readonly memory: WebAssembly.Memory;
  readonly kernels: Kernels;
  /** Where kernels unpack weights. */
  readonly scratch: number;
  readonly vocabSize: number;
  readonly embeddingSize: number;
  /** y = W x + bias for some contiguous rows of x, with a resident matrix. */
  readonly passOver: (
    matrix: StoredTensor,
    bias: number,
    y: number,
    x: number,
    rows: number,
  ) => Promise<void>;
}

export class ProposedHead {
  readonly #parts: ProposedHeadParts;

  constructor(parts: ProposedHeadParts) {
    this.#parts = parts;
  }

  /**
   * y = the logits of some inputs x: (rows, vocab) and (rows, embedding). One pass over the copy serves all
   * inputs.
   * @param bias (vocab), or 0
   * @param wanted for each row, how many of the largest logits are wanted; others become -Infinity; null: all
   */
  async logits(
    y: number,
    x: number,
    bias: number,
    wanted: readonly (BestLogits | null)[],
  ): Promise<void> {
    const { proposal, vocabSize, embeddingSize, passOver } = this.#parts;
    if (wanted.some((best) => best !== null)) {
      await passOver(proposal.tensor, bias, y, x, wanted.length);
    }
    for (const [row, best] of wanted.entries()) {
      const own = { y: y + row * vocabSize * f32Bytes, x: x + row * embeddingSize * f32Bytes };
      if (best === null) {
        const all = Array.from({ length: vocabSize }, (_, id) => id);
        await this.#exact(all, own.y, own.x, bias);
      } else {
        await this.#decide(own.y, own.x, bias, best);
      }
    }
  }

  /** Replaces the copy's logits by those of the head, as far as they are wanted. */
  async #decide(y: number, x: number, bias: number, best: BestLogits): Promise<void> {
    const { proposal, memory, vocabSize, embeddingSize } = this.#parts;
    const logits = new Float32Array(memory.buffer, y, vocabSize);
    const input = new Float32Array(memory.buffer, x, embeddingSize);
    const { ids, lower, upper } = proposal.candidates(logits, lengthOf(input), best.best);
    logits.fill(Number.NEGATIVE_INFINITY);
    // The most likely tokens first; mostly a few of them suffice.
    for (let known = 0, step = best.suffice ? fewCandidates : ids.length; known < ids.length; ) {
      const next = ids.slice(known, known + step);
      await this.#exact(next, y, x, bias);
      next.forEach((id, i) => {
        lower[known + i] = logits[id] as number;
        upper[known + i] = logits[id] as number;
      });
      known += next.length;
      step *= 2;
      if (known < ids.length && best.suffice?.({ ids, lower, upper })) return;
    }
  }

  /** y[id] = row id of the head times x, + bias[id] */
  async #exact(ids: readonly number[], y: number, x: number, bias: number): Promise<void> {
    const { proposal, weights, kernels, scratch, embeddingSize } = this.#parts;
    await weights.lookUp(proposal.head, ids, (index, row, format) => {
      const { matmul } = weightKernels(kernels, format);
      const id = ids[index] ?? 0;
      const [at, rowBias] = [y + id * f32Bytes, vectorFrom(bias, id)];
      matmul(at, x, row, rowBias, 1, embeddingSize, 1, embeddingSize, 1, scratch);
    });
  }
}

function lengthOf(values: Float32Array): number {
  let squares = 0;
  for (const value of values) squares += value * value;
  return Math.sqrt(squares);
}
