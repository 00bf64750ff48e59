/** Checkpoint in, model directory out. */

import type { AdapterReport } from '../checkpoint/lora/merged-source.ts';
import { byteLength } from '../dtype.ts';
import { BudgetError, InterruptedError, withNothingLeft } from '../errors.ts';
import type { FfnUnits } from '../flash/ffn-units.ts';
import { type FileLayout, type ModelLayout, residentDType } from '../flash/layout.ts';
import type { StoredFile, StoredTensor } from '../flash/manifest.ts';
import { instantiateKernels } from '../kernels/module.ts';
import type { ModelRecipe, ModelSpec, WeightDTypes } from '../models/spec.ts';
import { createMemory, maxMemoryBytes } from '../pages.ts';
import { peakResidentBytes, residentBytes } from '../plan/process.ts';
import type { EndToken } from '../tokenizer/end-tokens.ts';
import { alignUp, formatBytes, MIB, resolveSize, type Size } from '../units.ts';
import { version } from '../version.ts';
import type { ActivationChange, Adaptation } from './adaptation.ts';
import { type BlockBuffers, blockBufferBytes, createBlockBuffers } from './blocks.ts';
import type { SourceFormats, TargetDTypes } from './dtypes.ts';
import { type Examination, examineCheckpoint } from './examine.ts';
import { expertBytes } from './expert-weights.ts';
import { checkOutput, OutputDirectory } from './output-directory.ts';
import { Rotation } from './pending-writes.ts';
import { writeSideFiles } from './side-files.ts';
import type { TargetFormat } from './target-formats.ts';
import { TensorFileWriter } from './tensor-file.ts';
import { type Sources, tensorBytes, unitBytes } from './weights.ts';
import { checkWritten, writeManifest } from './written.ts';

export interface ConvertOptions extends Adaptation {
  readonly checkpoint: string;
  readonly output: string;
  /** `auto` keeps the checkpoint's; names such as `q4_k_m` are mixes of formats. */
  readonly dtype?: TargetFormat | 'auto';
  /** The format of the FFN, if it is to differ. */
  readonly ffnDtype?: TargetFormat;
  /**
   * Cuts FFNs into tiles of this many neurons instead of single neurons; it must divide the number of
   * neurons.
   */
  readonly tile?: number;
  /** Memory that the whole process may take: bytes, or a share of the converted weights. */
  readonly dramBudget?: number | Size;
  /** Replace a model that is already there. */
  readonly force?: boolean;
  /** Check everything that can be checked without reading weights, and write nothing. */
  readonly dryRun?: boolean;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: ConvertProgress) => void;
}

export interface ConvertProgress {
  readonly tensor: string;
  readonly doneBytes: number;
  readonly totalBytes: number;
}

export interface ConvertReport {
  readonly output: string;
  readonly spec: ModelSpec;
  readonly dtypes: WeightDTypes;
  /** The formats of the checkpoint's matrices, and how many weights each format has. */
  readonly formats: SourceFormats;
  /** The adapters that were merged into the checkpoint, in this order. */
  readonly adapters: readonly AdapterReport[];
  /** The activation, if it is not the checkpoint's own. */
  readonly activation: ActivationChange | null;
  /** The tokens that end a text. */
  readonly endTokens: readonly EndToken[];
  /** Where the conversion deviates from the checkpoint's files, one sentence each. */
  readonly notes: readonly string[];
  readonly checkpointBytes: number;
  readonly modelBytes: number;
  readonly dramBudget: number;
  readonly peakRss: number;
  readonly ms: number;
}

export const defaultConvertBudget = 512 * MIB;

/** Memory that garbage collection and the C library may take beyond what is resident at the start. */
const headroomBytes = 40 * MIB;
/** The floor may differ by this much from one run to the next. */
const floorMarginBytes = 8 * MIB;
/** Blocks of 2 Mi values are 4-8 MiB reads, past the point where larger ones are faster. */
const largestBlock = 2 * 1024 * 1024;

/**
 * Converts a Hugging Face directory or a GGUF file into a model directory that appears whole or not at all.
 * @throws InputError for a checkpoint that cannot be used; BudgetError below the floor
 */
export async function convertCheckpoint(options: ConvertOptions): Promise<ConvertReport> {
  const started = performance.now();
  const { checkpoint, output, force = false, signal } = options;
  const found = await examineCheckpoint(checkpoint, options);
  try {
    const [problem] = found.problems;
    if (problem !== undefined) throw problem;
    const { recipe, spec, storage, layout, notes } = found;
    const { source, sources, formats, side } = complete(found);
    const { dtypes } = layout;
    const modelBytes = layout.resident.bytes + layout.bundles.bytes;
    const dramBudget = budgetBytes(options.dramBudget ?? defaultConvertBudget, modelBytes);
    const buffers = planBuffers(recipe, layout, dramBudget, found.workBytes);
    if (options.dryRun) {
      await checkOutput(output, modelBytes, force);
    } else {
      const directory = await OutputDirectory.create(output, modelBytes, force);
      try {
        const work = await allocate(buffers, signal);
        const write = new ModelWriter({ recipe, layout, storage, sources, work, buffers, options });
        const [weights, stored] = await bothEnded(
          write.weights(directory.path),
          writeSideFiles(side, directory.path),
        );
        const manifest = {
          crc32: '',
          producer: `flashllm ${version}`,
          spec,
          dtypes,
          ffns: layout.ffns,
          layers: layout.layers,
          files: { ...weights.files, ...stored },
          tensors: weights.tensors,
        };
        await writeManifest(directory.path, manifest);
        await checkWritten(directory.path);
        if (signal?.aborted) throw new InterruptedError();
        await directory.commit();
      } catch (error) {
        throw (await directory.abandon()) ? withNothingLeft(error) : error;
      }
    }
    return {
      output,
      spec,
      dtypes,
      formats,
      adapters: found.adapters,
      activation: found.activation,
      endTokens: side.endTokens,
      notes,
      checkpointBytes: source.bytes,
      modelBytes,
      dramBudget,
      peakRss: peakResidentBytes(),
      ms: performance.now() - started,
    };
  } finally {
    await found.close();
  }
}

/**
 * The results of both. If one fails, this waits for the other to end, so that nothing is still being
 * written.
 */
async function bothEnded<A, B>(one: Promise<A>, other: Promise<B>): Promise<[A, B]> {
  await Promise.allSettled([one, other]);
  return [await one, await other];
}

/** The parts of an examination that found no problem. */
function complete({ checkpoint, sources, formats, side }: Examination) {
  if (checkpoint === null || sources === null || formats === null || side === null) {
    throw new Error('a part is missing, and no problem tells why');
  }
  return { source: checkpoint.source, sources, formats, side };
}

function budgetBytes(budget: number | Size, modelBytes: number): number {
  return typeof budget === 'number' ? budget : resolveSize(budget, modelBytes);
}

/** Both buffers start at a page; the WebAssembly module keeps no data of its own below them. */
const blocksAddress = 64 * 1024;

/** How the memory that the budget leaves is divided. */
interface Buffers {
  readonly blockElements: number;
  /** Values of the longest row. */
  readonly longestRow: number;
  readonly stripBytes: number;
  /** Strips, and the bytes of each. */
  readonly strips: 1 | 2;
}

function planBuffers(
  recipe: ModelRecipe,
  layout: ModelLayout,
  dramBudget: number,
  adapterBytes: number,
): Buffers {
  const longestRow = Math.max(
    ...recipe.bundles.map(({ neurons }) => neurons),
    ...recipe.experts.map(({ neurons }) => neurons),
    ...recipe.tensors.map(({ shape }) => shape.at(-1) ?? 1),
  );
  // Experts are copied through and need no assembly.
  const ffns = layout.ffns.flat().filter(({ kind }) => kind !== 'expert');
  const largestLayer = Math.max(0, ...ffns.map(({ count, unitBytes }) => count * unitBytes));
  // Strips of fewer neurons than this would read the down projection in very short runs.
  const smallestStrip = Math.max(
    0,
    ...ffns.map(({ k, unitBytes }) => Math.ceil(64 / k) * unitBytes),
  );
  const processBytes = residentBytes() + headroomBytes;
  const floor = processBytes + adapterBytes + blockBufferBytes(longestRow) + smallestStrip;
  if (dramBudget < floor) {
    throw new BudgetError(
      `--dram-budget ${formatBytes(dramBudget)} is below the floor of ${formatBytes(floor)}: ` +
        `process ${formatBytes(processBytes)}, ` +
        (adapterBytes === 0 ? '' : `adapters ${formatBytes(adapterBytes)}, `) +
        `buffers ${formatBytes(floor - processBytes - adapterBytes)}`,
      {},
      `Give ${alignUp(floor + floorMarginBytes, 4 * MIB) / MIB}MiB or more`,
    );
  }
  const free = Math.min(
    dramBudget - processBytes - adapterBytes,
    maxMemoryBytes - 2 * blocksAddress,
  );
  const blockElements = Math.max(
    longestRow,
    Math.min(largestBlock, Math.floor(free / 2 / byteLength('f32', 4))),
  );
  const room = free - blockBufferBytes(blockElements);
  // Two strips only if each holds a whole layer: half a layer would read its down projection in shorter
  // runs.
  if (room >= 2 * alignUp(largestLayer, stripAlignment)) {
    return {
      blockElements,
      longestRow,
      stripBytes: alignUp(largestLayer, stripAlignment),
      strips: 2,
    };
  }
  const stripBytes = Math.max(smallestStrip, Math.min(largestLayer, room));
  return { blockElements, longestRow, stripBytes, strips: 1 };
}

async function allocate(buffers: Buffers, signal: AbortSignal | undefined): Promise<BlockBuffers> {
  const stripAddress = stripAddressOf(buffers);
  const memory = createMemory(stripAddress + buffers.strips * buffers.stripBytes);
  const kernels = await instantiateKernels(memory);
  const { blockElements: elements, longestRow } = buffers;
  const geometry = { address: blocksAddress, elements, longestRow };
  return createBlockBuffers(memory, kernels, geometry, signal);
}

function stripAddressOf({ blockElements }: Buffers): number {
  return alignUp(blocksAddress + blockBufferBytes(blockElements), stripAlignment);
}

const stripAlignment = 4096;

interface WriterContext {
  readonly recipe: ModelRecipe;
  readonly layout: ModelLayout;
  readonly storage: TargetDTypes;
  readonly sources: Sources;
  readonly work: BlockBuffers;
  readonly buffers: Buffers;
  readonly options: ConvertOptions;
}

class ModelWriter {
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
    const { layout, options } = this.#context;
    const totalBytes = layout.resident.bytes + layout.bundles.bytes;
    for await (const part of parts) {
      if (options.signal?.aborted) throw new InterruptedError();
      yield part;
      this.#doneBytes += part.length;
      options.onProgress?.({ tensor, doneBytes: this.#doneBytes, totalBytes });
    }
  }
}
