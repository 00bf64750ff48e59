/** Writes both weight files of a model directory. */

import { InterruptedError } from '../errors.ts';
import type { FfnUnits } from '../flash/ffn-units.ts';
import { type FileLayout, type ModelLayout, residentDType } from '../flash/layout.ts';
import type { StoredFile, StoredTensor } from '../flash/manifest.ts';
import type { ModelRecipe } from '../models/spec.ts';
import type { BlockBuffers } from './blocks.ts';
import { type Buffers, stripAddressOf } from './buffers.ts';
import type { TargetDTypes } from './dtypes.ts';
import { expertBytes } from './expert-weights.ts';
import { Rotation } from './pending-writes.ts';
import { TensorFileWriter } from './tensor-file.ts';
import { type Sources, tensorBytes, unitBytes } from './weights.ts';

export interface ConvertProgress {
  readonly tensor: string;
  readonly doneBytes: number;
  readonly totalBytes: number;
}

interface WriterContext {
  readonly recipe: ModelRecipe;
  readonly layout: ModelLayout;
  readonly storage: TargetDTypes;
  readonly sources: Sources;
  readonly work: BlockBuffers;
  readonly buffers: Buffers;
  readonly onProgress: ((progress: ConvertProgress) => void) | undefined;
}

export class ModelWriter {
  readonly #context: WriterContext;
  #doneBytes = 0;

  constructor(context: WriterContext) {
    this.#context = context;
  }

  /** Writes both weight files into `dir`. */
  async weights(
    dir: string,
  ): Promise<{ files: Record<string, StoredFile>; tensors: Map<string, StoredTensor> }> {
    const { recipe, layout, storage, sources, work, buffers } = this.#context;
    const tensors = new Map<string, StoredTensor>();
    const { strips: count, stripBytes } = buffers;
    const places = new Rotation(stripAddressOf(buffers), count, stripBytes, work.pending);
    const strips = { places, bytes: stripBytes };
    const parts = new Map<string, () => AsyncIterable<Uint8Array>>();
    for (const tensor of recipe.tensors) {
      const dtype = residentDType(tensor, storage);
      parts.set(tensor.name, () => tensorBytes(work, tensor, dtype, sources));
    }
    const unitsOf = (layer: number, name: FfnUnits['name']) => {
      const units = layout.ffns[layer]?.find((ffn) => ffn.name === name);
      if (units === undefined) throw new Error(`no layout for the ${name} of layer ${layer}`);
      return units;
    };
    for (const bundle of recipe.bundles) {
      const units = unitsOf(bundle.layer, bundle.ffn);
      parts.set(units.tensor, () => unitBytes(work, bundle, units, sources, strips));
    }
    for (const experts of recipe.experts) {
      const units = unitsOf(experts.layer, 'experts');
      parts.set(units.tensor, () => expertBytes(work, experts, units, sources));
    }
    const files: Record<string, StoredFile> = {};
    for (const file of [layout.resident, layout.bundles]) {
      files[file.file] = await this.#file(dir, file, parts, tensors);
    }
    return { files, tensors };
  }

  async #file(
    dir: string,
    layout: FileLayout,
    parts: ReadonlyMap<string, () => AsyncIterable<Uint8Array>>,
    tensors: Map<string, StoredTensor>,
  ): Promise<StoredFile> {
    const writer = await TensorFileWriter.create(dir, layout, this.#context.work);
    try {
      const written = await writer.writeTensors((tensor) => {
        const bytes = parts.get(tensor.name);
        if (bytes === undefined) throw new Error(`nothing makes ${tensor.name}`);
        return this.#counted(tensor.name, bytes());
      });
      for (const tensor of written) tensors.set(tensor.name, tensor);
      return await writer.finish();
    } catch (error) {
      await writer.close().catch(() => {});
      throw error;
    }
  }

  async *#counted(tensor: string, parts: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    const { layout, work, onProgress } = this.#context;
    const totalBytes = layout.resident.bytes + layout.bundles.bytes;
    for await (const part of parts) {
      if (work.signal?.aborted) throw new InterruptedError();
      yield part;
      this.#doneBytes += part.length;
      onProgress?.({ tensor, doneBytes: this.#doneBytes, totalBytes });
    }
  }
}
