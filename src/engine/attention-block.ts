/** A layer's attention: queries, keys and values, their positions, the KV cache and the output projection. */

import type { Positions } from '../models/positions.ts';
import { type ModelSpec, tensorNames } from '../models/spec.ts';
import { attendedWidth, fusedProjection, projectionsOf } from '../models/spec-tensors.ts';
import type { MemoryPlan } from '../plan/memory-plan.ts';
import { fillAlibi } from './alibi.ts';
import type { Batch } from './batch.ts';
import { KvCache } from './kv-cache.ts';
import { LatentAttention } from './latent-attention.ts';
import type { LayerMath, LayerMathParts, NormedRows } from './layer-math.ts';
import { Rotary, type RotaryPlace } from './rotary.ts';
import type { SparseFfn } from './sparse-ffn.ts';
import { vectorFrom } from './vector-from.ts';

const f32Bytes = 4;

export interface AttentionParts extends LayerMathParts {
  readonly plan: MemoryPlan;
  /** The FFN whose reads attention lets proceed; null where there are none. */
  readonly sparse: Pick<SparseFfn, 'yieldToReads'> | null;
}

export class AttentionBlock {
  readonly #parts: AttentionParts;
  readonly #spec: ModelSpec;
  readonly #math: LayerMath;
  /** Keys and values of all sequences. */
  readonly cache: KvCache;
  /** By their names in `attention.rotary`; null where the model encodes positions in another way. */
  readonly #rotaries: Readonly<Record<'global' | 'local', Rotary | null>>;

  /** Null where queries, keys and values are products with the input. */
  readonly #latent: LatentAttention | null;

  constructor(parts: AttentionParts, math: LayerMath) {
    this.#parts = parts;
    this.#math = math;
    this.#spec = parts.files.manifest.spec;
    const [{ memory, kernels }] = parts.arenas;
    const { activations, chunk, context } = parts.plan;
    const { positions, localPositions, attention } = this.#spec;
    this.cache = new KvCache(memory, kernels, parts.plan, this.#spec);
    const rotary = (told: Positions | undefined, place: RotaryPlace) =>
      told?.kind === 'rotary' ? new Rotary(memory, kernels, told, place, chunk, context) : null;
    this.#rotaries = {
      global: rotary(positions, activations),
      local: rotary(localPositions, activations.local),
    };
    const { latent } = activations;
    this.#latent =
      latent && attention.latent
        ? new LatentAttention(parts, math, attention.latent, latent, activations)
        : null;
    if (positions.kind === 'alibi') {
      const { heads } = attention;
      const bias = new Float32Array(memory.buffer, activations.positionBias, heads * context);
      fillAlibi(bias, heads, context, positions);
    }
  }

  /** output = out(attention(x)) of the batch's rows, which it appends to their sequences. */
  async run(layer: number, batch: Batch, x: number): Promise<void> {
    const { plan, weights } = this.#parts;
    const { rows: positions } = batch;
    const { output, attended } = plan.activations;

    await this.#queryKeyValue(layer, x, positions);
    const { qkNormLast = false } = this.#spec.attention;
    if (!qkNormLast) this.#normHeads(layer, positions);
    this.#clip(positions);
    this.#applyRope(layer, batch);
    if (qkNormLast) this.#normHeads(layer, positions);
    this.#temper(batch);

    await this.#parts.sparse?.yieldToReads();
    this.cache.append(layer, batch);
    this.cache.attend(layer, batch, weights.vector(tensorNames.sinks(layer)));
    await this.#parts.sparse?.yieldToReads();
    const found = this.#latent?.attended(positions) ?? attended;
    const { attention } = this.#spec;
    if (attention.innerNorm === true) {
      const rows = { n: attendedWidth(attention), rows: positions };
      const name = tensorNames.attentionInnerNorm(layer);
      this.#math.normRows(this.#spec.norm.kind, name, found, found, rows);
    }
    this.#math.roundInput(found, attendedWidth(attention), positions);
    await this.#math.project(tensorNames.attentionOut(layer), output, found, positions);
  }

  /** qkv = queries, keys and values of x, from one matrix or from three. */
  async #queryKeyValue(layer: number, x: number, positions: number): Promise<void> {
    if (this.#latent !== null) {
      await this.#latent.project(layer, x, positions);
      return;
    }
    const { plan, weights, files } = this.#parts;
    const { tensors } = files.manifest;
    const { rows: outputs } = fusedProjection(this.#spec, layer);
    const allBias = weights.vector(`${tensorNames.qkv(layer)}.bias`);
    for (const { name, first } of projectionsOf(this.#spec, layer, tensors)) {
      const y = plan.activations.qkv + first * f32Bytes;
      await this.#math.linear(name, vectorFrom(allBias, first), y, x, positions, outputs);
    }
  }

  /** Clamps queries, keys and values to the model's bounds. */
  #clip(positions: number): void {
    const { clip } = this.#spec.attention;
    if (clip === undefined) return;
    const { rows: outputs } = fusedProjection(this.#spec, 0);
    this.#parts.arenas[0].kernels.clamp(
      this.#parts.plan.activations.qkv,
      positions * outputs,
      clip,
    );
  }

  /** Norms queries and keys, where the model does. */
  #normHeads(layer: number, positions: number): void {
    const { heads, kvHeads, headDim, qkNorm, qkNormOver } = this.#spec.attention;
    if (qkNorm === 'none') return;
    const { qkv } = this.#parts.plan.activations;
    const stride = (heads + 2 * kvHeads) * headDim;
    const keys = qkv + heads * headDim * f32Bytes;
    for (const [name, at, count] of [
      [tensorNames.queryNorm(layer), qkv, heads],
      [tensorNames.keyNorm(layer), keys, kvHeads],
    ] as const) {
      const norm = (x: number, rows: NormedRows) => this.#math.normRows(qkNorm, name, x, x, rows);
      if (qkNormOver === 'row') {
        norm(at, { n: count * headDim, rows: positions, stride });
      } else if (qkNormOver === 'heads') {
        for (let head = 0; head < count; head++) {
          const first = head * headDim;
          norm(at + first * f32Bytes, { n: headDim, rows: positions, stride, first });
        }
      } else {
        for (let p = 0; p < positions; p++) {
          norm(at + p * stride * f32Bytes, { n: headDim, rows: count });
        }
      }
    }
  }

  /** Scales up the queries of later positions, where the model does. */
  #temper({ positions }: Batch): void {
    const { temperature, heads, kvHeads, headDim } = this.#spec.attention;
    if (temperature === undefined) return;
    const { qkv } = this.#parts.plan.activations;
    const { scale } = this.#parts.arenas[0].kernels;
    const stride = (heads + 2 * kvHeads) * headDim;
    for (const [row, position] of positions.entries()) {
      const factor = temperatureAt(position, temperature);
      if (factor !== 1) scale(qkv + row * stride * f32Bytes, heads * headDim, factor);
    }
  }

  /** Rotates queries and keys by their positions, where the model uses rotary positions. */
  #applyRope(layer: number, { positions }: Batch): void {
    const { heads, kvHeads, headDim, rotary } = this.#spec.attention;
    const { qkv } = this.#parts.plan.activations;
    const stride = (heads + 2 * kvHeads) * headDim;
    const kind = rotary?.[layer] ?? 'global';
    if (kind === 'none') return;
    this.#rotaries[kind]?.apply(qkv, positions, heads + kvHeads, headDim, stride);
  }
}

function temperatureAt(
  position: number,
  { beta, trained }: NonNullable<ModelSpec['attention']['temperature']>,
): number {
  return 1 + beta * Math.log(1 + Math.floor(position / trained));
}
