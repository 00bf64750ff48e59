/** A GGUF file, or the first of the files of a split model, as a source of tensors. */

import { basename, dirname, join } from 'node:path';
import { InputError } from '../../errors.ts';
import { type OpenedFile, type OpenFile, openLocal, type RangeFile } from '../file.ts';
import { rangeTensor } from '../range-tensor.ts';
import type { SourceTensor, TensorSource } from '../source.ts';
import { unreadTensor } from '../unread-tensor.ts';
import { ggmlTypeNames } from './ggml-types.ts';
import { type GgufHeader, type GgufTensor, readGgufHeader } from './header.ts';
import type { GgufMetadata } from './metadata.ts';
import { quantisedTensor } from './quantised-tensor.ts';

/** The most files of one model; each is kept open. */
const maxParts = 512;

const partName = /^(.*)-(\d{5})-of-(\d{5})\.gguf$/;

/**
 * The parts of the name of one of several files: the prefix, the number of the file, the number of files.
 */
export function ggufPart(name: string) {
  const [, prefix, number, count] = partName.exec(name) ?? [];
  return prefix === undefined ? null : { prefix, number: Number(number), count: Number(count) };
}

export interface GgufSource extends TensorSource {
  /** That of the first file. */
  readonly metadata: GgufMetadata;
}

/**
 * Opens a GGUF file; reads and checks headers, but not data. For a model in several files
 * (`name-00001-of-00003.gguf`), give the first.
 * @throws InputError when a file is missing, truncated, damaged, or holds an unsupported type
 */
export async function openGguf(path: string, open: OpenFile = openLocal): Promise<GgufSource> {
  const opened: OpenedFile[] = [];
  const close = async (): Promise<void> => {
    await Promise.all(opened.map((file) => file.close()));
  };
  const tensors = new Map<string, SourceTensor>();
  let bytes = 0;
  const openPart = async (part: string): Promise<GgufHeader> => {
    const file = await open(part);
    opened.push(file);
    const header = await readGgufHeader(file);
    for (const tensor of header.tensors.values()) {
      const { name } = tensor;
      if (tensors.has(name)) {
        throw new InputError('another file of this model also holds a tensor of this name', {
          file: part,
          tensor: name,
        });
      }
      bytes += tensor.bytes;
      tensors.set(name, sourceTensor(file, tensor));
    }
    return header;
  };
  try {
    const { metadata } = await openPart(path);
    for (const [index, part] of furtherParts(path, metadata).entries()) {
      const header = await openPart(part);
      checkPart(header, metadata, index + 1, part);
    }
    const promised = metadata.get('split.tensors.count');
    if (typeof promised === 'number' && promised !== tensors.size) {
      throw new InputError(
        `the model's files hold ${tensors.size} tensors, but split.tensors.count is ${promised}`,
        { file: path },
        'Download all parts again',
      );
    }
    return { metadata, tensors, bytes, close };
  } catch (error) {
    await close();
    throw error;
  }
}

function sourceTensor(file: RangeFile, tensor: GgufTensor): SourceTensor {
  const { name, shape, elements, offset, type } = tensor;
  const { dtype, dequantise } = type;
  if (dequantise !== null) return quantisedTensor(file, tensor, dequantise);
  if (dtype !== 'other') return rangeTensor(file, { name, dtype, shape, elements, offset });
  const refusal = () =>
    new InputError(
      `the tensor type ${type.name} is not supported`,
      { file: file.path, tensor: name },
      `Supported: ${ggmlTypeNames.join(', ')}; choose another quantisation of the model`,
    );
  return unreadTensor({ name, shape, file: file.path, storedAs: type.name }, refusal);
}

/** Paths of the other files of the model. */
function furtherParts(path: string, metadata: GgufMetadata): readonly string[] {
  const count = metadata.get('split.count') ?? 1;
  if (typeof count !== 'number' || !Number.isInteger(count) || count < 0 || count > maxParts) {
    throw new InputError(`split.count must be an integer up to ${maxParts}, not ${String(count)}`, {
      file: path,
    });
  }
  if (count <= 1) return [];
  const part = ggufPart(basename(path));
  if (part?.count !== count) {
    throw new InputError(
      `is one of ${count} files, but is not named like name-00001-of-${digits(count)}.gguf`,
      { file: path },
      'Keep the names that the files were published under',
    );
  }
  const { prefix, number } = part;
  if (number !== 1 || metadata.get('split.no') !== 0) {
    throw new InputError(
      `is not the first of its ${count} files`,
      { file: path },
      `Give ${prefix}-00001-of-${digits(count)}.gguf`,
    );
  }
  return Array.from({ length: count - 1 }, (_, index) =>
    join(dirname(path), `${prefix}-${digits(index + 2)}-of-${digits(count)}.gguf`),
  );
}

function checkPart(
  { metadata }: GgufHeader,
  first: GgufMetadata,
  index: number,
  file: string,
): void {
  if (
    metadata.get('split.no') === index &&
    metadata.get('split.count') === first.get('split.count')
  ) {
    return;
  }
  throw new InputError(
    `is named as file ${index + 1} of the model, but split.no or split.count in its metadata differs`,
    { file },
    'Download all parts again',
  );
}

const digits = (number: number) => String(number).padStart(5, '0');
