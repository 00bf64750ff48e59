/**
 * Keys and values of the sequence so far, and attention over them. Per layer:
 *
 *     | keys: a row of kvHeads x headDim for each position of the context | values: likewise |
 *
 * in f32, or in f16, which is half as much to keep and to read per token.
 */

import { byteLength } from '../dtype.ts';
import type { Kernels } from '../kernels/kernels.ts';
import type { ModelSpec } from '../models/spec.ts';
import type { Activations } from '../plan/activations.ts';
import type { MemoryPlan } from '../plan/memory-plan.ts';

const f32Bytes = 4;
/** The largest f16: keys and values beyond it are taken for it, as attention cannot have infinities. */
const largestF16 = 65504;

/** What of a plan the cache needs. */
export interface KvPlan extends Pick<MemoryPlan, 'kvCache' | 'context'> {
  readonly activations: Pick<Activations, 'qkv' | 'attended' | 'scores' | 'positionBias'>;
}

/** Works on the rows of queries, keys and values in `qkv` of the plan's activations. */
export class KvCache {
  readonly #kernels: Kernels;
  readonly #plan: KvPlan;
  readonly #attention: ModelSpec['attention'];
  /** Values of one position in one layer: its keys, and as many values. */
  readonly #width: number;
  readonly #rowBytes: number;

  constructor(kernels: Kernels, plan: KvPlan, attention: ModelSpec['attention']) {
    this.#kernels = kernels;
    this.#plan = plan;
    this.#attention = attention;
    this.#width = attention.kvHeads * attention.headDim;
    this.#rowBytes = byteLength(plan.kvCache.dtype, this.#width);
  }

  /** Keeps keys and values of positions [start, start + positions). */
  append(layer: number, start: number, positions: number): void {
    const { keys, values } = this.#places(layer);
    const target = start * this.#rowBytes;
    const { queryWidth, rowWidth } = this.#qkv;
    const from = this.#plan.activations.qkv + queryWidth * f32Bytes;
    const stride = rowWidth * f32Bytes;
    const between = this.#width * f32Bytes;
    if (this.#plan.kvCache.dtype === 'f32') {
      const { copyRows } = this.#kernels;
      copyRows(keys + target, from, positions, this.#rowBytes, stride, this.#rowBytes);
      copyRows(values + target, from + between, positions, this.#rowBytes, stride, this.#rowBytes);
      return;
    }
    const { fromF32 } = this.#kernels.byDType.f16;
    for (let position = 0; position < positions; position++) {
      const row = from + position * stride;
      const offset = target + position * this.#rowBytes;
      this.#kernels.clamp(row, 2 * this.#width, largestF16);
      fromF32(keys + offset, row, this.#width);
      fromF32(values + offset, row + between, this.#width);
    }
  }

  /** attended = attention of those positions, which have been appended, over all up to them. */
  attend(layer: number, start: number, positions: number): void {
    const { heads, kvHeads, headDim, scale, windows } = this.#attention;
    const { qkv, attended, scores, positionBias } = this.#plan.activations;
    const { context } = this.#plan;
    const { keys, values } = this.#places(layer);
    const { queryWidth, rowWidth } = this.#qkv;
    const { attention, attentionF16 } = this.#kernels;
    const attend = this.#plan.kvCache.dtype === 'f32' ? attention : attentionF16;
    attend(
      attended,
      qkv,
      keys,
      values,
      scores,
      0,
      heads,
      heads / kvHeads,
      headDim,
      this.#width,
      rowWidth,
      queryWidth,
      start,
      positions,
      scale,
      windows[layer] ?? context,
      positionBias,
      context,
    );
  }

  /** Elements of a row of `qkv`, and of the queries at its beginning. */
  get #qkv() {
    const queryWidth = this.#attention.heads * this.#attention.headDim;
    return { queryWidth, rowWidth: queryWidth + 2 * this.#width };
  }

  /** Where a layer's keys and values begin. */
  #places(layer: number) {
    const { kvCache, context } = this.#plan;
    const keys = kvCache.address + layer * kvCache.layerBytes;
    return { keys, values: keys + context * this.#rowBytes };
  }
}
