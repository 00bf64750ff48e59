/**
 * One forward pass through the model, in the order data flows: embed, then for each layer attention
 * and FFN, then the head. All rows of a batch go through together, so that each weight is read once
 * for all of them.
 */

import { InterruptedError } from '../errors.ts';
import { rowsOf, type StoredTensor } from '../flash/manifest.ts';
import type { ModelFiles } from '../flash/model-files.ts';
import type { Kernels } from '../kernels/kernels.ts';
import { weightKernels } from '../kernels/weight-kernels.ts';
import { headTensor, type ModelSpec, tensorNames } from '../models/spec.ts';
import { fusedProjection, projectionsOf } from '../models/spec-tensors.ts';
import type { MemoryPlan } from '../plan/memory-plan.ts';
import type { ExpertStores } from '../residency/expert-stores.ts';
import type { HeadProposal } from '../residency/head-proposal.ts';
import type { LoadedRows } from '../residency/weight-stream.ts';
import type { Weights } from '../residency/weights.ts';
import { yieldToEventLoop } from '../yield-to-event-loop.ts';
import { fillAlibi } from './alibi.ts';
import type { Arena } from './arena.ts';
import type { Batch } from './batch.ts';
import { DenseFfn } from './dense-ffn.ts';
import type { BegunFfn, Ffn } from './ffn.ts';
import type { FfnHook } from './ffn-hook.ts';
import type { ForwardOptions } from './forward-options.ts';
import { KvCache } from './kv-cache.ts';
import { MixtureFfn } from './mixture-ffn.ts';
import { ProposedHead } from './proposed-head.ts';
import { Rotary } from './rotary.ts';
import type { SparseFfn } from './sparse-ffn.ts';

const f32Bytes = 4;
/** The event loop turns at least this often. */
const longestBlockMs = 15;

export interface TransformerParts {
  readonly files: ModelFiles;
  readonly plan: MemoryPlan;
  /** The plan's memories with their kernels: the first, then its arenas. */
  readonly arenas: readonly [Arena, ...Arena[]];
  readonly weights: Weights;
  /** Null: every neuron is computed. */
  readonly sparse: SparseFfn | null;
  /** Of mixtures of experts only. */
  readonly experts?: ExpertStores | null;
  /** Null where the head itself is passed over for every token. */
  readonly headProposal?: HeadProposal | null;
}

export class Transformer {
  readonly #parts: TransformerParts;
  readonly #spec: ModelSpec;
  /** Of the first memory, where all but weights lies. */
  readonly #kernels: Kernels;
  readonly #memory: WebAssembly.Memory;
  /** Keys and values of all sequences. */
  readonly cache: KvCache;
  /** Null where positions are told otherwise. */
  readonly #rotary: Rotary | null;
  /** Null where the head itself is passed over. */
  readonly #proposedHead: ProposedHead | null;
  readonly #ffn: Ffn;
  #lastTurn = 0;
  #activeNeurons = 0;
  #neurons = 0;

  constructor(parts: TransformerParts) {
    this.#parts = parts;
    this.#spec = parts.files.manifest.spec;
    this.#kernels = parts.arenas[0].kernels;
    this.#memory = parts.arenas[0].memory;
    const { activations, chunk, context } = parts.plan;
    const { positions, attention } = this.#spec;
    this.cache = new KvCache(this.#memory, this.#kernels, parts.plan, this.#spec);
    this.#rotary =
      positions.kind === 'rotary'
        ? new Rotary(this.#memory, this.#kernels, positions, activations, chunk)
        : null;
    const { headProposal: proposal = null, weights, sparse } = parts;
    const dense = new DenseFfn({ ...parts, sums: activations.sums });
    const { experts: stores = null, plan } = parts;
    const { experts: buffers, scratch } = activations;
    const { topK = 0 } = plan.experts ?? {};
    const mixture = buffers && stores && { ...parts, stores, dense, buffers, scratch, chunk, topK };
    this.#ffn = sparse ?? (mixture && new MixtureFfn(mixture)) ?? dense;
    this.#proposedHead =
      proposal &&
      new ProposedHead({
        ...{ proposal, weights, memory: this.#memory, kernels: this.#kernels },
        scratch: activations.scratch,
        vocabSize: this.#spec.vocabSize,
        embeddingSize: this.#spec.embeddingSize,
        passOver: (matrix, bias, y, x, rows) => this.#linear(matrix, bias, y, x, rows),
      });
    if (positions.kind === 'alibi') {
      const { heads } = attention;
      const { positionBias } = activations;
      const bias = new Float32Array(this.#memory.buffer, positionBias, heads * context);
      fillAlibi(bias, heads, context);
    }
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
    return this.#logits(batch);
  }

  /** Lets the event loop turn now and then, so that Ctrl-C and output do not wait for a token. */
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
    const beginFfn = () => {
      const shared = this.#spec.norm.shared;
      const own = shared ? x : this.#normBefore(ffnNorm, ffnInput, positions);
      return this.#ffn.begin({ layer, x: own, residual: hidden, positions }, hook);
    };

    // A parallel block's FFN does not wait for attention: its reads hide behind it. Those of another
    // are guessed.
    const early = parallel ? beginFfn() : null;
    this.#speculate(layer, positions);
    try {
      await this.#attention(layer, batch, x);
    } catch (error) {
      await early?.abandon();
      await this.#parts.sparse?.cancelSpeculation();
      throw error;
    }
    this.#addSublayer(attentionNorm, positions);
    await this.#finishFfn(early ?? beginFfn(), layer, positions);
    this.#addSublayer(ffnNorm, positions);
  }

  /** Guesses what the FFN will want from the state before attention, which changes it little. */
  #speculate(layer: number, positions: number): void {
    const { sparse, plan } = this.#parts;
    if (!sparse?.speculates(layer, positions)) return;
    const { hidden, output } = plan.activations;
    // Attention's output is not there yet; its place is free.
    const x = this.#normBefore(tensorNames.ffnNorm(layer), output, positions);
    sparse.speculate({ layer, x, residual: hidden, positions });
  }

  /** hidden = (project_in) token row, + position row where there is a table of them */
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
    if (projected) await this.#linear(tensorNames.projectIn, 0, hidden, embedding, ids.length);

    if (positions.kind !== 'learned') return;
    const table = files.tensor(tensorNames.positions);
    const rows = Array.from(batch.positions, (position) => position + positions.offset);
    await weights.lookUp(table, rows, (index, row, format) => {
      weightKernels(this.#kernels, format).toF32(output, row, hiddenSize);
      this.#kernels.add(hidden + index * hiddenSize * f32Bytes, output, hiddenSize);
    });
  }

  /** output = out(attention(x)) */
  async #attention(layer: number, batch: Batch, x: number): Promise<void> {
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
    await this.#linear(`${out}.weight`, weights.vector(`${out}.bias`), output, attended, positions);
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
      await this.#linear(name, bias, plan.activations.qkv + offset, x, positions, outputs);
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
      this.#normRows(qkNorm, query, queries, queries, headDim, heads);
      this.#normRows(qkNorm, key, keys, keys, headDim, kvHeads);
    }
  }

  /** Tells queries and keys their positions, where that is done by rotation. */
  #applyRope({ positions }: Batch): void {
    const { heads, kvHeads, headDim } = this.#spec.attention;
    const { qkv } = this.#parts.plan.activations;
    const stride = (heads + 2 * kvHeads) * headDim;
    this.#rotary?.apply(qkv, positions, heads + kvHeads, headDim, stride);
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

  /** Logits of the rows in `hidden` of which they are wanted. */
  async #logits({ logits: wanted, rows }: Batch): Promise<Float32Array> {
    const { plan, files, weights } = this.#parts;
    const { hiddenSize, embeddingSize, vocabSize, norm } = this.#spec;
    const { hidden, input, embedding, logits } = plan.activations;
    const positions = wanted.length;
    const rowBytes = hiddenSize * f32Bytes;
    // The last rows lie together; others are gathered as they are normed.
    const [together, first] = [wanted[0]?.row === rows - positions, rows - positions];
    let x = hidden + first * rowBytes;
    if (norm.final) {
      if (together) this.#norm(tensorNames.finalNorm, input, x, positions);
      else {
        wanted.forEach(({ row }, i) => {
          this.#norm(tensorNames.finalNorm, input + i * rowBytes, hidden + row * rowBytes, 1);
        });
      }
      x = input;
    } else if (!together) {
      wanted.forEach(({ row }, i) => {
        this.#kernels.copyRows(input + i * rowBytes, hidden + row * rowBytes, 1, rowBytes, 0, 0);
      });
      x = input;
    }
    if (files.find(tensorNames.projectOut) !== undefined) {
      await this.#linear(tensorNames.projectOut, 0, embedding, x, positions);
      x = embedding;
    }
    if (embeddingSize !== hiddenSize && x !== embedding) throw new Error('no project_out');
    const bias = weights.vector(tensorNames.headBias);
    if (this.#proposedHead === null) {
      await this.#linear(headTensor(this.#spec), bias, logits, x, positions);
    } else {
      const best = wanted.map(({ wanted: how }) => (typeof how === 'object' ? how : null));
      await this.#proposedHead.logits(logits, x, bias, best);
    }
    return new Float32Array(this.#memory.buffer, logits, positions * vocabSize);
  }

  /**
   * y = W x + bias for `positions` rows of f32, those of x one right after the other.
   * @param outputs from one row of y to the next: as many as W has rows, unless it gives a part of them
   */
  async #linear(
    matrix: StoredTensor | string,
    bias: number,
    y: number,
    x: number,
    positions: number,
    outputs?: number,
  ): Promise<void> {
    const { weights, files } = this.#parts;
    const tensor = typeof matrix === 'string' ? files.tensor(matrix) : matrix;
    const [own = 0, columns = 0] = tensor.shape;
    const { rowBytes } = rowsOf(tensor);
    const call = { rowBytes, x, columns, y, outputs: outputs ?? own, bias, positions };
    await weights.eachRows(tensor, (rows) => {
      this.#arena(rows).linear({ rows, ...call });
    });
  }

  /** The sublayer's input: normed where norms stand before, else the residual stream itself. */
  #normBefore(name: string, target: number, positions: number): number {
    const { hidden } = this.#parts.plan.activations;
    if (this.#spec.norm.placement === 'post') return hidden;
    this.#norm(name, target, hidden, positions);
    return target;
  }

  /** hidden += output; then the norm, where it stands after. */
  #addSublayer(name: string, positions: number): void {
    const { hidden, output } = this.#parts.plan.activations;
    this.#kernels.add(hidden, output, positions * this.#spec.hiddenSize);
    if (this.#spec.norm.placement === 'post') this.#norm(name, hidden, hidden, positions);
  }

  #norm(name: string, y: number, x: number, positions: number): void {
    const { norm, hiddenSize } = this.#spec;
    this.#normRows(norm.kind, name, y, x, hiddenSize, positions);
  }

  /** `rows` rows of n values, one right after the other. */
  #normRows(
    kind: 'layer' | 'rms',
    name: string,
    y: number,
    x: number,
    n: number,
    rows: number,
  ): void {
    const { weights } = this.#parts;
    const { eps } = this.#spec.norm;
    const weight = weights.vector(`${name}.weight`);
    const { layerNorm, rmsNorm } = this.#kernels;
    if (kind === 'rms') rmsNorm(y, x, weight, n, rows, n, n, eps);
    else layerNorm(y, x, weight, weights.vector(`${name}.bias`), n, rows, n, n, eps);
  }

  #arena({ arena }: LoadedRows): Arena {
    const found = this.#parts.arenas[arena];
    if (found === undefined) throw new Error(`the plan has no arena ${arena}`);
    return found;
  }
}
