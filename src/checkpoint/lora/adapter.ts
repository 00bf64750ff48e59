/** A LoRA adapter on disk: its configuration, and its tensors by their effect on a model. */

import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { InputError } from '../../errors.ts';
import { fileError } from '../file.ts';
import { brief } from '../json-file.ts';
import { openSafetensors } from '../safetensors.ts';
import type { SourceTensor, TensorSource } from '../source.ts';
import { openTorch } from '../torch.ts';
import { type AdapterConfig, adapterConfigFile, readAdapterConfig } from './adapter-config.ts';
import { unwrapped } from './names.ts';

/** A low-rank update of a module's weight: it adds a scale times B A. */
export interface LowRank {
  /** Name of the module in the model. */
  readonly module: string;
  /** (rank, inputs); of an embedding (rank, rows of the table) */
  readonly a: SourceTensor;
  /** (outputs, rank); of an embedding (width of the table, rank) */
  readonly b: SourceTensor;
  readonly embedding: boolean;
  /** (outputs): it is added to the bias, times the scale. */
  readonly bias: SourceTensor | null;
}

/** A tensor that replaces the checkpoint's. */
export interface WholeTensor {
  /** Name in the model. */
  readonly name: string;
  readonly tensor: SourceTensor;
}

export interface Adapter {
  readonly dir: string;
  readonly config: AdapterConfig;
  readonly lowRank: readonly LowRank[];
  readonly whole: readonly WholeTensor[];
  close(): Promise<void>;
}

/** The files that PEFT looks for, in this order. */
const weightFiles = [
  { name: 'adapter_model.safetensors', open: openSafetensors },
  { name: 'adapter_model.bin', open: openTorch },
] as const;

/**
 * Opens the adapter in the directory `dir`; close it when done.
 * @throws InputError when it cannot be used, whatever the model
 */
export async function openAdapter(dir: string): Promise<Adapter> {
  const names = await filesOf(dir);
  const config = await readAdapterConfig(dir);
  const file = weightFiles.find(({ name }) => names.includes(name));
  if (file === undefined) {
    throw new InputError(
      `no weights in this directory: neither ${weightFiles.map(({ name }) => name).join(' nor ')}`,
      { file: dir },
      'Download the whole adapter, weights included',
    );
  }
  const path = join(dir, file.name);
  const source = await file.open(path);
  try {
    return { dir, config, ...sorted(source, path), close: source.close };
  } catch (error) {
    await source.close();
    throw error;
  }
}

async function filesOf(dir: string): Promise<readonly string[]> {
  const found = await stat(dir).catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') {
      throw new InputError('no such directory', { file: dir }, 'Give the directory of an adapter');
    }
    throw fileError(error, dir, 'opening');
  });
  if (!found.isDirectory()) {
    throw new InputError(
      'is not a directory',
      { file: dir },
      `Give the directory that holds ${adapterConfigFile}`,
    );
  }
  const names = await readdir(dir).catch((error: unknown) => {
    throw fileError(error, dir, 'reading the directory');
  });
  if (!names.includes(adapterConfigFile)) {
    throw new InputError(
      `no ${adapterConfigFile} in this directory`,
      { file: dir },
      'Give the directory of an adapter, as PEFT saves it',
    );
  }
  return names;
}

/** The tensors of one module, as far as they were found. */
interface Found {
  readonly embedding: boolean;
  a?: SourceTensor;
  b?: SourceTensor;
  bias?: SourceTensor;
}

/** `.lora_A.weight`, with or without the name that the adapter had in memory. */
const linearName = /^(.+)\.lora_([AB])(?:\.[^.]+)?\.(weight|bias)$/;
const embeddingName = /^(.+)\.lora_embedding_([AB])(?:\.[^.]+)?$/;
/** A module that was saved as a whole, or one that PEFT wraps. */
const wholeName = /^(.+?)(?:\.base_layer|\.modules_to_save(?:\.[^.]+)?)?\.(weight|bias)$/;

function sorted(
  source: TensorSource,
  file: string,
): { readonly lowRank: readonly LowRank[]; readonly whole: readonly WholeTensor[] } {
  const modules = new Map<string, Found>();
  const whole = new Map<string, WholeTensor>();
  for (const [key, tensor] of source.tensors) {
    const place = { file, tensor: key };
    const name = unwrapped(key);
    const linear = linearName.exec(name);
    const [, module, factor, kind = 'weight'] = linear ?? embeddingName.exec(name) ?? [];
    if (module !== undefined) {
      const embedding = linear === null;
      const found = modules.get(module) ?? { embedding };
      const part = kind === 'bias' ? 'bias' : factor === 'A' ? 'a' : 'b';
      if (found.embedding !== embedding || found[part] !== undefined) {
        throw new InputError(
          `another tensor of the adapter holds the same factor for ${brief(module)}`,
          place,
        );
      }
      if (kind === 'bias' && factor === 'A')
        throw new InputError('is not a tensor of a LoRA adapter', place);
      modules.set(module, found);
      found[part] = tensor;
      continue;
    }
    if (name.includes('lora_magnitude_vector')) {
      throw new InputError(
        'is part of DoRA, which is not supported',
        place,
        'Merge the adapter with PEFT (merge_and_unload) and convert the result',
      );
    }
    const [, saved, savedKind] = name.includes('lora_') ? [] : (wholeName.exec(name) ?? []);
    if (saved === undefined) {
      throw new InputError('is not a tensor of a LoRA adapter', place);
    }
    const target = `${saved}.${savedKind}`;
    if (whole.has(target)) {
      throw new InputError(`another tensor of the adapter also replaces ${brief(target)}`, place);
    }
    whole.set(target, { name: target, tensor });
  }
  if (modules.size + whole.size === 0) throw new InputError('holds no tensors', { file });
  return {
    lowRank: [...modules].map(([module, found]) => complete(module, found, file)),
    whole: [...whole.values()],
  };
}

function complete(module: string, { embedding, a, b, bias }: Found, file: string): LowRank {
  if (a === undefined || b === undefined) {
    const missing = `lora_${embedding ? 'embedding_' : ''}${a === undefined ? 'A' : 'B'}`;
    throw new InputError(`${brief(module)} has no ${missing}`, { file }, 'Download it again');
  }
  return { module, a, b, embedding, bias: bias ?? null };
}
