/**
 * Keys and values of all sequences, and attention over them (see plan/kv-layout.ts for how they lie), in
 * f32, or in f16, which is half as much to keep and to read per token.
 */

import { byteLength } from '../dtype.ts';
import { callAttention } from '../kernels/attention.ts';
import type { Kernels } from '../kernels/kernels.ts';
import type { ModelSpec } from '../models/spec.ts';
import type { Activations } from '../plan/activations.ts';
import { type KvLayout, pagePositions } from '../plan/kv-layout.ts';
import type { MemoryPlan } from '../plan/memory-plan.ts';
import { KvPages, type PageCopy, type PageList } from '../residency/kv-pages.ts';
import type { Batch } from './batch.ts';

const f32Bytes = 4;
/** The largest f16: keys and values beyond it are clamped to it, as attention cannot handle infinities. */
const largestF16 = 65504;

/** The parts of a plan that the cache needs. */
export interface KvPlan extends Pick<MemoryPlan, 'kvCache' | 'context'> {
  readonly activations: Pick<Activations, 'qkv' | 'attended' | 'scores' | 'positionBias'>;
}

/** Works on the rows of queries, keys and values in `qkv` of the plan's activations. */
export class KvCache {
  readonly #kernels: Kernels;
  readonly #plan: KvPlan;
  readonly #layout: KvLayout;
  readonly #attention: ModelSpec['attention'];
  readonly #layers: number;
  /** Scale of the bias that a head adds to scores. */
  readonly #biasScale: number;
  readonly #pages: KvPages;
  /** The batch's rows as the attention kernel reads them: (rows, 2). */
  readonly #rows: Uint32Array;
  #announced: Batch | null = null;
  /** Values of one position in one layer: its keys, and as many values. */
  readonly #width: number;
  readonly #rowBytes: number;

  constructor(
    memory: WebAssembly.Memory,
    kernels: Kernels,
    plan: KvPlan & { readonly chunk: number },
    { attention, layers, positions }: Pick<ModelSpec, 'attention' | 'layers' | 'positions'>,
  ) {
    this.#kernels = kernels;
    this.#plan = plan;
    this.#layout = plan.kvCache;
    this.#attention = attention;
    this.#layers = layers;
    const isPlain = positions.kind === 'alibi' && positions.form === 'plain';
    this.#biasScale = isPlain ? 1 : attention.scale;
    this.#pages = new KvPages(memory, plan.kvCache);
    this.#rows = new Uint32Array(memory.buffer, plan.kvCache.rows, 2 * plan.chunk);
    this.#width = attention.kvHeads * attention.headDim;
    this.#rowBytes = byteLength(plan.kvCache.dtype, this.#width);
  }

  /** @throws InputError when as many sequences are open as were planned */
  open(): PageList {
    return this.#pages.open();
  }

  /**
   * Makes room for positions [length, end) of a sequence and keeps its first `length` positions.
   * @throws InputError when pages are short; then nothing has changed
   */
  extend(pages: PageList, length: number, end: number): void {
    const copy = pages.extend(length, end);
    if (copy !== null) this.#copy(copy);
  }

  /** Stores keys and values of the batch's rows. */
  append(layer: number, batch: Batch): void {
    const { parts } = batch;
    this.#announce(batch);
    let row = 0;
    for (const { pages, ids, start } of parts) {
      for (let i = 0; i < ids.length; ) {
        const target = pages.rowOf(start + i);
        let count = 1;
        while (i + count < ids.length && pages.rowOf(start + i + count) === target + count) count++;
        this.#keep(layer, row, target, count);
        row += count;
        i += count;
      }
    }
  }

  /** Writes the table of rows for the attention kernel. */
  #announce(batch: Batch): void {
    if (batch === this.#announced) return;
    this.#announced = batch;
    let at = 0;
    for (const { pages, ids, start } of batch.parts) {
      for (let i = 0; i < ids.length; i++) {
        this.#rows[at++] = pages.address;
        this.#rows[at++] = start + i;
      }
    }
  }

  /** Copies rows [row, row + count) of `qkv` to rows of the cache from `target` on. */
  #keep(layer: number, row: number, target: number, count: number): void {
    const { keys, values } = this.#places(layer);
    const offset = target * this.#rowBytes;
    const { queryWidth, rowWidth } = this.#qkv;
    const stride = rowWidth * f32Bytes;
    const from = this.#plan.activations.qkv + queryWidth * f32Bytes + row * stride;
    const between = this.#width * f32Bytes;
    if (this.#layout.dtype === 'f32') {
      const { copyRows } = this.#kernels;
      copyRows(keys + offset, from, count, this.#rowBytes, stride, this.#rowBytes);
      copyRows(values + offset, from + between, count, this.#rowBytes, stride, this.#rowBytes);
      return;
    }
    const { fromF32 } = this.#kernels.byDType.f16;
    for (let i = 0; i < count; i++) {
      const source = from + i * stride;
      const to = offset + i * this.#rowBytes;
      this.#kernels.clamp(source, 2 * this.#width, largestF16);
      fromF32(keys + to, source, this.#width);
      fromF32(values + to, source + between, this.#width);
    }
  }

  /**
   * attended = attention of the batch's rows, already appended, over their sequences.
   * @param sinks address of the scores (heads) that bring no value; 0: there are none
   */
  attend(layer: number, { rows: positions, length }: Batch, sinks = 0): void {
    const { heads, kvHeads, headDim, scale, windows, softCap = 0 } = this.#attention;
    const { qkv, attended, scores, positionBias } = this.#plan.activations;
    const { context } = this.#plan;
    const { keys, values } = this.#places(layer);
    const { queryWidth, rowWidth } = this.#qkv;
    const { attention, attentionF16 } = this.#kernels;
    callAttention(this.#layout.dtype === 'f32' ? attention : attentionF16, {
      out: attended,
      q: qkv,
      rows: this.#layout.rows,
      keys,
      values,
      scores,
      headStart: 0,
      headEnd: heads,
      group: heads / kvHeads,
      headDim,
      kvStride: this.#width,
      qStride: rowWidth,
      outStride: queryWidth,
      length,
      positions,
      scale,
      window: windows[layer] ?? context,
      bias: positionBias,
      biasStride: context,
      biasScale: this.#biasScale,
      softCap,
      sinks,
    });
  }

  /** Elements of a row of `qkv`, and of the queries at its beginning. */
  get #qkv() {
    const queryWidth = this.#attention.heads * this.#attention.headDim;
    return { queryWidth, rowWidth: queryWidth + 2 * this.#width };
  }

  /** Where a layer's keys and values begin. */
  #places(layer: number) {
    const { address, layerBytes, valuesOffset } = this.#layout;
    const keys = address + layer * layerBytes;
    return { keys, values: keys + valuesOffset };
  }

  #copy({ from, to, rows }: PageCopy): void {
    const bytes = rows * this.#rowBytes;
    const pageBytes = pagePositions * this.#rowBytes;
    for (let layer = 0; layer < this.#layers; layer++) {
      const { keys, values } = this.#places(layer);
      for (const base of [keys, values]) {
        const [target, source] = [base + to * pageBytes, base + from * pageBytes];
        this.#kernels.copyRows(target, source, 1, bytes, bytes, bytes);
      }
    }
  }
}
