/**
 * Runs one layer after the other over the sample tokens, so that each weight is read once for all of them,
 * and keeps the samples from which the layer's predictor learns.
 */

import { Batch } from '../engine/batch.ts';
import type { FfnHook, NeuronBlock } from '../engine/ffn-hook.ts';
import type { FfnInput } from '../engine/selection.ts';
import type { Transformer } from '../engine/transformer.ts';
import type { PredictorShape } from '../flash/predictor-file.ts';
import { yieldToEventLoop } from '../yield-to-event-loop.ts';
import type { HiddenStates } from './hidden-states.ts';
import type { Samples } from './samples.ts';

const f32Bytes = 4;

export type PredictorInput = PredictorShape['input'];

export interface CollectParts {
  readonly transformer: Transformer;
  /** Parts of the transformer. */
  readonly memory: WebAssembly.Memory;
  /** Address of its residual stream. */
  readonly hiddenAddress: number;
  readonly hidden: number;
  /** The most positions at once. */
  readonly chunk: number;
  /** Ids of each window of text, which begins with BOS. */
  readonly windows: readonly (readonly number[])[];
  readonly states: HiddenStates;
  /** The input of predictors. */
  readonly input: PredictorInput;
}

/**
 * Runs a layer, whose weights are in memory, over all windows.
 * @param samples receives the layer's samples; null to run the layer only
 */
export async function collectLayer(
  parts: CollectParts,
  layer: number,
  samples: Samples | null,
  options: { readonly signal?: AbortSignal; readonly onProgress?: (tokens: number) => void } = {},
): Promise<void> {
  const { transformer, memory, hiddenAddress, hidden, chunk, windows, states } = parts;
  const hook = samples && new SampleHook(parts, samples);
  samples?.restart();
  states.begin(layer);
  const pages = transformer.cache.open();
  try {
    let done = 0;
    for (const window of windows) {
      pages.truncate(0);
      for (let start = 0; start < window.length; start += chunk) {
        const ids = window.slice(start, start + chunk);
        const view = new Float32Array(memory.buffer, hiddenAddress, ids.length * hidden);
        transformer.cache.extend(pages, start, start + ids.length);
        const batch = new Batch([{ pages, ids, start, wanted: 'none' }]);
        if (layer === 0) await transformer.embed(batch);
        else states.read(done, view);
        await transformer.layer(layer, batch, hook ?? undefined);
        states.write(done, view);
        hook?.flush();
        done += ids.length;
        await yieldToEventLoop(options.signal);
        options.onProgress?.(done);
      }
    }
  } finally {
    pages.close();
    states.end();
  }
}

/** Gathers a chunk's activations, which arrive in blocks of neurons, into one row per token. */
class SampleHook implements FfnHook {
  readonly #memory: WebAssembly.Memory;
  readonly #hidden: number;
  readonly #kind: PredictorInput;
  readonly #samples: Samples;
  readonly #inputs: Float32Array;
  readonly #activations: Float32Array;
  #positions = 0;

  constructor({ memory, hidden, chunk, input }: CollectParts, samples: Samples) {
    this.#kind = input;
    this.#memory = memory;
    this.#hidden = hidden;
    this.#samples = samples;
    this.#inputs = new Float32Array(chunk * hidden);
    this.#activations = new Float32Array(chunk * samples.neurons);
  }

  input({ x, residual, positions }: FfnInput): void {
    this.#positions = positions;
    const input = this.#kind === 'ffn' ? x : residual;
    this.#inputs.set(new Float32Array(this.#memory.buffer, input, positions * this.#hidden));
  }

  activations({ memory, address, stride, first, count, position, positions }: NeuronBlock): void {
    const { neurons } = this.#samples;
    for (let p = 0; p < positions; p++) {
      const row = new Float32Array(memory.buffer, address + p * stride * f32Bytes, count);
      const target = (position + p) * neurons + first;
      // Predictors weight a neuron by the magnitude of its activation.
      for (let i = 0; i < count; i++) this.#activations[target + i] = Math.abs(row[i] ?? 0);
    }
  }

  /** Adds the chunk's tokens to the samples. */
  flush(): void {
    const { neurons } = this.#samples;
    for (let p = 0; p < this.#positions; p++) {
      this.#samples.add(
        this.#inputs.subarray(p * this.#hidden, (p + 1) * this.#hidden),
        this.#activations.subarray(p * neurons, (p + 1) * neurons),
      );
    }
  }
}

/** Bytes that gathering a chunk takes. */
export function gatherBytes(chunk: number, hidden: number, neurons: number): number {
  return chunk * (hidden + neurons) * f32Bytes;
}
