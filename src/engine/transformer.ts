/**
 * One forward pass through the model, in the order data flows: embed, then for each layer attention
 * and FFN, then the head. All rows of a batch go through together, so that each weight is read once
 * for all of them.
 */

import { InterruptedError } from '../errors.ts';
import type { Kernels } from '../kernels/kernels.ts';
import { weightKernels } from '../kernels/weight-kernels.ts';
import { type ModelSpec, tensorNames } from '../models/spec.ts';
import { normsAround } from '../models/spec-tensors.ts';
import type { ExpertStores } from '../residency/expert-stores.ts';
import { yieldToEventLoop } from '../yield-to-event-loop.ts';
import { AllActivations } from './all-activations.ts';
import { AttentionBlock } from './attention-block.ts';
import type { Batch } from './batch.ts';
import { DenseFfn } from './dense-ffn.ts';
import type { BegunFfn, Ffn } from './ffn.ts';
import type { FfnHook } from './ffn-hook.ts';
import type { ForwardOptions } from './forward-options.ts';
import { Head, type HeadParts } from './head.ts';
import type { KvCache } from './kv-cache.ts';
import { LayerMath } from './layer-math.ts';
import { MixtureFfn } from './mixture-ffn.ts';
import type { SparseFfn } from './sparse-ffn.ts';

const f32Bytes = 4;
/** The event loop runs at least this often. */
const longestBlockMs = 15;

export interface TransformerParts extends HeadParts {
  /** Null: every neuron is computed. */
  readonly sparse: SparseFfn | null;
  /** For mixtures of experts only. */
  readonly experts?: ExpertStores | null;
}

export class Transformer {
  readonly #parts: TransformerParts;
  readonly #spec: ModelSpec;
  /** Kernels of the first memory, which holds everything except weights. */
  readonly #kernels: Kernels;
  readonly #memory: WebAssembly.Memory;
  readonly #math: LayerMath;
  readonly #attention: AttentionBlock;
  readonly #head: Head;
  readonly #ffn: Ffn;
  #lastTurn = 0;
  #activeNeurons = 0;
  #neurons = 0;

  constructor(parts: TransformerParts) {
    this.#parts = parts;
    this.#spec = parts.files.manifest.spec;
    this.#kernels = parts.arenas[0].kernels;
    this.#memory = parts.arenas[0].memory;
    const { sparse, plan, experts: stores = null } = parts;
    const math = new LayerMath(parts);
    this.#math = math;
    this.#attention = new AttentionBlock(parts, math);
    this.#head = new Head(parts, math);
    const { experts: buffers, scratch, sums } = plan.activations;
    const { topK = 0 } = plan.experts ?? {};
    const { chunk } = plan;
    const all = AllActivations.at(plan.activations.all, parts);
    const dense = new DenseFfn({ ...parts, sums, all });
    const { residences } = plan;
    const sizes = { scratch, chunk, topK, residences };
    const mixture = buffers && stores && { ...parts, ...sizes, math, stores, dense, buffers };
    this.#ffn = sparse ?? (mixture && new MixtureFfn(mixture)) ?? dense;
  }

  /** Keys and values of all sequences. */
  get cache(): KvCache {
    return this.#attention.cache;
  }

  /** FFN activations so far, and how many of them were not zero. */
  get activations(): { readonly neurons: number; readonly active: number } {
    return { neurons: this.#neurons, active: this.#activeNeurons };
  }

  /**
   * Appends a batch's rows to their sequences and computes logits.
   * @param batch at most a chunk of the plan; its sequences have pages for it
   * @throws InterruptedError between two layers when `interrupted` says so
   * @returns (batch.logits, vocab) logits, a view that the next call overwrites
   */
  async forward(batch: Batch, { interrupted, hook }: ForwardOptions = {}): Promise<Float32Array> {
    const { plan, weights } = this.#parts;
    if (
      batch.rows > plan.chunk ||
      batch.length > plan.context ||
      batch.logits.length > plan.logitPositions
    ) {
      throw new RangeError(`${batch.rows} rows up to position ${batch.length} exceed the plan`);
    }
    weights.beginPass(batch.logits.length > 0);
    await this.embed(batch);
    for (let layer = 0; layer < this.#spec.layers; layer++) {
      await this.#turn(interrupted);
      await this.layer(layer, batch, hook);
    }
    if (batch.logits.length === 0) return new Float32Array(0);
    return this.#head.logits(batch);
  }

  /** Lets the event loop run now and then, so that Ctrl-C and output do not wait for a token. */
  async #turn(interrupted: (() => boolean) | undefined): Promise<void> {
    if (performance.now() - this.#lastTurn < longestBlockMs) return;
    await yieldToEventLoop();
    if (interrupted?.()) throw new InterruptedError();
    this.#lastTurn = performance.now();
  }

  /** One layer over the rows in `hidden`, which it replaces. */
  async layer(layer: number, batch: Batch, hook?: FfnHook): Promise<void> {
    const { rows: positions } = batch;
    const { hidden, input, ffnInput } = this.#parts.plan.activations;
    const parallel = this.#spec.block === 'parallel';
    const attentionNorm = tensorNames.attentionNorm(layer);
    const ffnNorm = tensorNames.ffnNorm(layer);
    const x = this.#normBefore(attentionNorm, input, positions);
    const ffnX = () =>
      this.#spec.norm.shared ? x : this.#normBefore(ffnNorm, ffnInput, positions);
    const beginFfn = () => this.#ffn.begin({ layer, x: ffnX(), residual: hidden, positions }, hook);

    // A parallel block's FFN does not wait for attention, nor does a router that reads the layer's input:
    // reads hide behind attention. Other FFNs guess their units.
    const early = parallel ? beginFfn() : await this.#beginEarly(layer, positions, hook);
    this.#speculate(layer, positions);
    try {
      await this.#attention.run(layer, batch, x);
    } catch (error) {
      await early?.abandon();
      await this.#parts.sparse?.cancelSpeculation();
      throw error;
    }
    this.#addSublayer(attentionNorm, tensorNames.attentionOutputNorm(layer), positions);
    // An FFN that chose before attention needs its input now.
    if (early !== null && !parallel) ffnX();
    await this.#finishFfn(early ?? beginFfn(), layer, positions);
    this.#addSublayer(ffnNorm, tensorNames.ffnOutputNorm(layer), positions);
  }

  /** Begins the FFN where the layer's input decides its choice; null elsewhere. */
  async #beginEarly(
    layer: number,
    positions: number,
    hook: FfnHook | undefined,
  ): Promise<BegunFfn | null> {
    const { hidden, ffnInput } = this.#parts.plan.activations;
    const x = this.#isNormedBefore() ? ffnInput : hidden;
    const begun = this.#ffn.beginEarly?.({ layer, x, residual: hidden, positions }, hook);
    return (await begun) ?? null;
  }

  /**
   * Guesses the FFN's wanted units from the state before attention, as attention changes the state little.
   */
  #speculate(layer: number, positions: number): void {
    const { sparse, plan } = this.#parts;
    if (!sparse?.speculates(layer, positions)) return;
    const { hidden, output } = plan.activations;
    // Attention's output buffer is free until attention has run.
    const x = this.#normBefore(tensorNames.ffnNorm(layer), output, positions);
    sparse.speculate({ layer, x, residual: hidden, positions });
  }

  /** hidden = (project_in) token row, scaled, normed, + position row, as far as the model has these steps */
  async embed(batch: Batch): Promise<void> {
    const { plan, files, weights } = this.#parts;
    const { ids } = batch;
    const { hiddenSize, embeddingSize, positions } = this.#spec;
    const { hidden, embedding, output } = plan.activations;
    const projected = embeddingSize !== hiddenSize;
    const target = projected ? embedding : hidden;
    const tokens = files.tensor(tensorNames.tokens);
    await weights.lookUp(tokens, ids, (index, row, format) => {
      const { toF32 } = weightKernels(this.#kernels, format);
      toF32(target + index * embeddingSize * f32Bytes, row, embeddingSize);
    });
    if (projected) await this.#math.linear(tensorNames.projectIn, 0, hidden, embedding, ids.length);

    const { embeddingScale, norm } = this.#spec;
    if (embeddingScale !== undefined) {
      this.#kernels.scale(hidden, ids.length * hiddenSize, embeddingScale);
    }
    if (norm.embedding === true) {
      this.#math.norm(tensorNames.embeddingNorm, hidden, hidden, ids.length);
    }
    if (positions.kind !== 'learned') return;
    const table = files.tensor(tensorNames.positions);
    const rows = Array.from(batch.positions, (position) => position + positions.offset);
    await weights.lookUp(table, rows, (index, row, format) => {
      weightKernels(this.#kernels, format).toF32(output, row, hiddenSize);
      this.#kernels.add(hidden + index * hiddenSize * f32Bytes, output, hiddenSize);
    });
  }

  /** output = sum over the neurons of their activations times down columns. */
  async #finishFfn(begun: BegunFfn, layer: number, positions: number): Promise<void> {
    const { plan, weights } = this.#parts;
    const { output: y } = plan.activations;
    const downBias = weights.vector(tensorNames.downBias(layer));
    const rowBytes = this.#spec.hiddenSize * f32Bytes;
    if (downBias === 0) new Uint8Array(this.#memory.buffer, y, positions * rowBytes).fill(0);
    else this.#kernels.copyRows(y, downBias, positions, rowBytes, 0, rowBytes);
    const bias = weights.vector(tensorNames.upBias(layer));
    const gateBias = weights.vector(tensorNames.gateBias(layer));
    const { neurons, active } = await begun.finish({ y, bias, gateBias });
    this.#neurons += neurons;
    this.#activeNeurons += active;
  }

  /** The sublayer's input: normed where norms stand before, else the residual stream itself. */
  #normBefore(name: string, target: number, positions: number): number {
    const { hidden } = this.#parts.plan.activations;
    if (!this.#isNormedBefore()) return hidden;
    this.#math.norm(name, target, hidden, positions);
    this.#math.roundInput(target, this.#spec.hiddenSize, positions);
    return target;
  }

  #isNormedBefore(): boolean {
    const { placement } = this.#spec.norm;
    return placement !== 'post' && placement !== 'output';
  }

  /**
   * hidden += output, scaled; then the norm, in models that norm after the sum.
   * @param outputNorm the norm of the output before it is added, if any
   */
  #addSublayer(name: string, outputNorm: string, positions: number): void {
    const { hidden, output } = this.#parts.plan.activations;
    const { norm, residualScale, hiddenSize } = this.#spec;
    const values = positions * hiddenSize;
    if (normsAround(norm.placement).output) this.#math.norm(outputNorm, output, output, positions);
    if (residualScale !== undefined) this.#kernels.scale(output, values, residualScale);
    this.#kernels.add(hidden, output, values);
    if (norm.placement === 'post') this.#math.norm(name, hidden, hidden, positions);
  }
}
