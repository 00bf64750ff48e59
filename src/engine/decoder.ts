/**
 * One forward pass through the model, in the order data flows: embed, then for each layer attention
 * and FFN, then the head. Several positions go through together (a chunk of the prompt), so that
 * each weight is read once for all of them.
 */

import type { DType } from '../dtype.ts';
import { InterruptedError } from '../errors.ts';
import { rowsOf, type StoredTensor } from '../flash/manifest.ts';
import type { ModelFiles } from '../flash/model-files.ts';
import type { Kernels } from '../kernels/kernels.ts';
import type { MemoryPlan } from '../memory/plan.ts';
import type { LoadedRows } from '../memory/weight-stream.ts';
import type { Weights } from '../memory/weights.ts';
import { headTensor, type ModelSpec, role } from '../models/spec.ts';
import type { Arena, NeuronObserver } from './arena.ts';
import { KvCache } from './kv-cache.ts';
import type { SparseFfn } from './sparse-ffn.ts';

const f32Bytes = 4;
/** The event loop turns at least this often. */
const longestBlockMs = 15;

export interface DecoderParts {
  readonly files: ModelFiles;
  readonly plan: MemoryPlan;
  /** The plan's memories with their kernels: the first, then its arenas. */
  readonly arenas: readonly [Arena, ...Arena[]];
  readonly weights: Weights;
  /** Null: every neuron is computed. */
  readonly sparse: SparseFfn | null;
}

/** Looks on while every neuron is computed. */
export interface FfnObserver extends NeuronObserver {
  /** An FFN begins. */
  input(call: FfnInput): void;
}

/** Addresses in the first memory, of (positions, hidden) each. */
export interface FfnInput {
  readonly layer: number;
  readonly x: number;
  /** Before the norm. */
  readonly residual: number;
  readonly positions: number;
}

export interface ForwardOptions {
  readonly signal?: AbortSignal;
  readonly observer?: FfnObserver;
}

/** Of which positions of a chunk the logits are computed. */
export type LogitsWanted = 'none' | 'last' | 'all';

export class Decoder {
  readonly #parts: DecoderParts;
  readonly #spec: ModelSpec;
  /** Of the first memory, where all but weights lies. */
  readonly #kernels: Kernels;
  readonly #memory: WebAssembly.Memory;
  readonly #cache: KvCache;
  #lastTurn = 0;
  #activeNeurons = 0;
  #neurons = 0;

  constructor(parts: DecoderParts) {
    this.#parts = parts;
    this.#spec = parts.files.manifest.spec;
    this.#kernels = parts.arenas[0].kernels;
    this.#memory = parts.arenas[0].memory;
    this.#cache = new KvCache(this.#kernels, parts.plan, this.#spec.attention);
  }

  /** Share of FFN activations that were exactly zero so far, 0 to 1. */
  get ffnSparsity(): number {
    return this.#neurons === 0 ? 0 : 1 - this.#activeNeurons / this.#neurons;
  }

  /** Begins to count activations anew. */
  restartCounting(): void {
    this.#activeNeurons = 0;
    this.#neurons = 0;
  }

  /**
   * Appends `ids` at positions [start, start + ids.length) and computes logits.
   * @param ids at most a chunk of the plan
   * @throws InterruptedError between two layers when `signal` aborts
   * @returns (positions, vocab) logits, a view that the next call overwrites
   */
  async forward(
    ids: readonly number[],
    start: number,
    wanted: LogitsWanted,
    { signal, observer }: ForwardOptions = {},
  ): Promise<Float32Array> {
    const { plan, weights } = this.#parts;
    if (ids.length > plan.chunk || start + ids.length > plan.context) {
      throw new RangeError(`${ids.length} positions from ${start} on exceed the plan`);
    }
    weights.beginPass(wanted !== 'none');
    await this.embed(ids, start);
    for (let layer = 0; layer < this.#spec.layers; layer++) {
      await this.#breathe(signal);
      await this.layer(layer, start, ids.length, observer);
    }
    if (wanted === 'none') return new Float32Array(0);
    return this.#logits(wanted === 'last' ? ids.length - 1 : 0, ids.length);
  }

  /** Lets the event loop turn now and then, so that Ctrl-C and output do not wait for a token. */
  async #breathe(signal: AbortSignal | undefined): Promise<void> {
    if (performance.now() - this.#lastTurn < longestBlockMs) return;
    await new Promise((resolve) => setImmediate(resolve));
    this.#lastTurn = performance.now();
    if (signal?.aborted) throw new InterruptedError();
  }

  /** One layer over the positions in `hidden`, which it replaces. */
  async layer(
    layer: number,
    start: number,
    positions: number,
    observer?: FfnObserver,
  ): Promise<void> {
    await this.#attention(layer, start, positions);
    await this.#ffn(layer, positions, observer);
  }

  /** hidden = (project_in) token row + position row */
  async embed(ids: readonly number[], start: number): Promise<void> {
    const { plan, files, weights } = this.#parts;
    const { hiddenSize, embeddingSize, positions } = this.#spec;
    const { hidden, embedding, output } = plan.activations;
    const projected = embeddingSize !== hiddenSize;
    const target = projected ? embedding : hidden;
    const tokens = files.tensor(role.tokens);
    const toF32 = this.#byDType(tokens).toF32;
    await weights.lookUp(tokens, ids, (index, row) => {
      toF32(target + index * embeddingSize * f32Bytes, row, embeddingSize);
    });
    if (projected) await this.#linear(role.projectIn, 0, hidden, embedding, ids.length);

    const table = files.tensor(role.positions);
    const rows = ids.map((_, index) => start + index + positions.offset);
    await weights.lookUp(table, rows, (index, row) => {
      this.#byDType(table).toF32(output, row, hiddenSize);
      this.#kernels.add(hidden + index * hiddenSize * f32Bytes, output, hiddenSize);
    });
  }

  /** hidden += out(attention(norm(hidden))), or with the norm after the sum. */
  async #attention(layer: number, start: number, positions: number): Promise<void> {
    const { plan, weights } = this.#parts;
    const { input, output, qkv, attended } = plan.activations;

    const x = this.#normBefore(role.attentionNorm(layer), input, positions);
    const name = role.qkv(layer);
    await this.#linear(`${name}.weight`, weights.vector(`${name}.bias`), qkv, x, positions);

    this.#cache.append(layer, start, positions);
    this.#cache.attend(layer, start, positions);
    const out = role.attentionOut(layer);
    await this.#linear(`${out}.weight`, weights.vector(`${out}.bias`), output, attended, positions);
    this.#addSublayer(role.attentionNorm(layer), positions);
  }

  /** hidden += sum over the neurons of act(up . x + b) down, or with the norm after the sum. */
  async #ffn(layer: number, positions: number, observer?: FfnObserver): Promise<void> {
    const { plan, weights, files, sparse } = this.#parts;
    const { hiddenSize } = this.#spec;
    const { hidden, input, output, sums } = plan.activations;
    const x = this.#normBefore(role.ffnNorm(layer), input, positions);
    const bias = weights.vector(role.downBias(layer));
    const rowBytes = hiddenSize * f32Bytes;
    if (bias === 0) {
      new Uint8Array(this.#memory.buffer, output, positions * rowBytes).fill(0);
    } else {
      this.#kernels.copyRows(output, bias, positions, rowBytes, 0, rowBytes);
    }
    const geometry = files.manifest.layers[layer];
    if (geometry === undefined) throw new Error(`no bundles for layer ${layer}`);
    const upBias = weights.vector(role.upBias(layer));
    if (sparse !== null) {
      const call = { layer, x, residual: hidden, y: output, positions, bias: upBias };
      this.#neurons += geometry.neurons * positions;
      this.#activeNeurons += await sparse.run(call);
      this.#addSublayer(role.ffnNorm(layer), positions);
      return;
    }
    observer?.input({ layer, x, residual: hidden, positions });
    new Uint8Array(this.#memory.buffer, sums, positions * rowBytes).fill(0);
    await weights.eachRows(files.tensor(role.bundles(layer)), (rows) => {
      this.#neurons += rows.count * positions;
      this.#activeNeurons += this.#arena(rows).neurons({
        dtype: files.manifest.dtypes.bundles,
        rows,
        geometry,
        activation: this.#spec.ffn.activation,
        x,
        y: output,
        sums,
        hidden: hiddenSize,
        bias: upBias,
        positions,
        observer,
      });
    });
    // Of a last group that is not whole.
    this.#kernels.add(output, sums, positions * hiddenSize);
    this.#addSublayer(role.ffnNorm(layer), positions);
  }

  /** Logits of positions [first, end) of the chunk in `hidden`. */
  async #logits(first: number, end: number): Promise<Float32Array> {
    const { plan, files } = this.#parts;
    const { hiddenSize, embeddingSize, vocabSize, norm } = this.#spec;
    const { hidden, input, embedding, logits } = plan.activations;
    const positions = end - first;
    let x = hidden + first * hiddenSize * f32Bytes;
    if (norm.final) {
      this.#norm(role.finalNorm, input, x, positions);
      x = input;
    }
    if (files.find(role.projectOut) !== undefined) {
      await this.#linear(role.projectOut, 0, embedding, x, positions);
      x = embedding;
    }
    if (embeddingSize !== hiddenSize && x !== embedding) throw new Error('no project_out');
    await this.#linear(headTensor(this.#spec), 0, logits, x, positions);
    return new Float32Array(this.#memory.buffer, logits, positions * vocabSize);
  }

  /** y = W x + bias for `positions` rows; both packed, f32. */
  async #linear(
    name: string,
    bias: number,
    y: number,
    x: number,
    positions: number,
  ): Promise<void> {
    const { files, weights } = this.#parts;
    const tensor = files.tensor(name);
    const dtype = matrixDType(tensor);
    const [outputs = 0, columns = 0] = tensor.shape;
    const { rowBytes } = rowsOf(tensor);
    await weights.eachRows(tensor, (rows) => {
      this.#arena(rows).linear({ dtype, rows, rowBytes, x, columns, y, outputs, bias, positions });
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
    const { weights } = this.#parts;
    const { hiddenSize, norm } = this.#spec;
    const weight = weights.vector(`${name}.weight`);
    const bias = weights.vector(`${name}.bias`);
    this.#kernels.layerNorm(
      y,
      x,
      weight,
      bias,
      hiddenSize,
      positions,
      hiddenSize,
      hiddenSize,
      norm.eps,
    );
  }

  #arena({ arena }: LoadedRows): Arena {
    const found = this.#parts.arenas[arena];
    if (found === undefined) throw new Error(`the plan has no arena ${arena}`);
    return found;
  }

  #byDType(tensor: StoredTensor) {
    return this.#kernels.byDType[matrixDType(tensor)];
  }
}

function matrixDType({ name, dtype }: StoredTensor): DType {
  if (dtype === 'u8') throw new Error(`${name} is not a matrix`);
  return dtype;
}
