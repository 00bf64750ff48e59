/** A layer's attention: queries, keys and values, their positions, the cache, the projection out. */

import { type ModelSpec, tensorNames } from '../models/spec.ts';
import { fusedProjection, projectionsOf } from '../models/spec-tensors.ts';
import type { MemoryPlan } from '../plan/memory-plan.ts';
import { fillAlibi } from './alibi.ts';
import type { Batch } from './batch.ts';
import { KvCache } from './kv-cache.ts';
import type { LayerMath, LayerMathParts } from './layer-math.ts';
import { Rotary } from './rotary.ts';
import type { SparseFfn } from './sparse-ffn.ts';

const f32Bytes = 4;

export interface AttentionParts extends LayerMathParts {
  readonly plan: MemoryPlan;
  /** Whose reads are let through around attention; null: there are none. */
  readonly sparse: Pick<SparseFfn, 'yieldToReads'> | null;
}

export class AttentionBlock {
  readonly #parts: AttentionParts;
  readonly #spec: ModelSpec;
  readonly #math: LayerMath;
  /** Keys and values of all sequences. */
  readonly cache: KvCache;
  /** Null where positions are told otherwise. */
  readonly #rotary: Rotary | null;

  constructor(parts: AttentionParts, math: LayerMath) {
    this.#parts = parts;
    this.#math = math;
    this.#spec = parts.files.manifest.spec;
    const [{ memory, kernels }] = parts.arenas;
    const { activations, chunk, context } = parts.plan;
    const { positions, attention } = this.#spec;
    this.cache = new KvCache(memory, kernels, parts.plan, this.#spec);
    this.#rotary =
      positions.kind === 'rotary'
        ? new Rotary(memory, kernels, positions, activations, chunk)
        : null;
    if (positions.kind === 'alibi') {
      const { heads } = attention;
      const { positionBias } = activations;
      fillAlibi(new Float32Array(memory.buffer, positionBias, heads * context), heads, context);
    }
  }

  /** output = out(attention(x)) of the batch's rows, which it appends to their sequences. */
  async run(layer: number, batch: Batch, x: number): Promise<void> {
    const { plan, weights } = this.#parts;
    const { rows: positions } = batch;
    const { output, attended } = plan.activations;

    await this.#queryKeyValue(layer, x, positions);
    this.#normHeads(layer, positions);
    this.#applyRope(batch);

    await this.#parts.sparse?.yieldToReads();
    this.cache.append(layer, batch);
    this.cache.attend(layer, batch);
    await this.#parts.sparse?.yieldToReads();
    const out = tensorNames.attentionOut(layer);
    await this.#math.linear(
      `${out}.weight`,
      weights.vector(`${out}.bias`),
      output,
      attended,
      positions,
    );
  }

  /** qkv = queries, keys and values of x, from one matrix or from three. */
  async #queryKeyValue(layer: number, x: number, positions: number): Promise<void> {
    const { plan, weights, files } = this.#parts;
    const { tensors } = files.manifest;
    const { rows: outputs } = fusedProjection(this.#spec, layer);
    const allBias = weights.vector(`${tensorNames.qkv(layer)}.bias`);
    for (const { name, first } of projectionsOf(this.#spec, layer, tensors)) {
      const offset = first * f32Bytes;
      const bias = allBias === 0 ? 0 : allBias + offset;
      await this.#math.linear(name, bias, plan.activations.qkv + offset, x, positions, outputs);
    }
  }

  /** Norms each query and key head on its own, where the model does. */
  #normHeads(layer: number, positions: number): void {
    const { heads, kvHeads, headDim, qkNorm } = this.#spec.attention;
    if (qkNorm === 'none') return;
    const { qkv } = this.#parts.plan.activations;
    const [query, key] = [tensorNames.queryNorm(layer), tensorNames.keyNorm(layer)];
    for (let p = 0; p < positions; p++) {
      const queries = qkv + p * (heads + 2 * kvHeads) * headDim * f32Bytes;
      const keys = queries + heads * headDim * f32Bytes;
      this.#math.normRows(qkNorm, query, queries, queries, headDim, heads);
      this.#math.normRows(qkNorm, key, keys, keys, headDim, kvHeads);
    }
  }

  /** Tells queries and keys their positions, where that is done by rotation. */
  #applyRope({ positions }: Batch): void {
    const { heads, kvHeads, headDim } = this.#spec.attention;
    const { qkv } = this.#parts.plan.activations;
    const stride = (heads + 2 * kvHeads) * headDim;
    this.#rotary?.apply(qkv, positions, heads + kvHeads, headDim, stride);
  }
}
