/**
 * The header of a GGUF file, read as if it were hostile.
 *
 *     "GGUF" | version, u32 | tensors, u64 | keys, u64 | keys and values | tensor entries | padding | data
 *
 *     text:    length in bytes, u64 | UTF-8
 *     value:   text key | type, u32 | value;  an array: type of elements, u32 | count, u64 | elements
 *     tensor:  text name | dimensions, u32 | size of each, u64, the innermost first | type, u32 |
 *              offset from the beginning of the data, u64
 */

import { InputError } from '../../errors.ts';
import type { RangeFile } from '../file.ts';
import { elementCount } from '../shape.ts';
import { checkTensorName } from '../tensor-name.ts';
import { HeaderCursor } from './cursor.ts';
import { type GgmlType, ggmlTypeOf } from './ggml-types.ts';
import { type GgufMetadata, readMetadata, readText } from './metadata.ts';

/** The most tensors; the largest mixtures of experts have some thousands. */
const maxTensors = 65_536;
/** Longest name of a tensor, in bytes. */
const maxNameBytes = 1024;
/** Most dimensions: the limit of ggml. */
const maxTensorDimensions = 4;
/** Offsets are multiples of this unless `general.alignment` says otherwise. */
const defaultAlignment = 32;
const maxAlignment = 65_536;
/** Versions 2 and 3 differ only in that version 3 may be big-endian. */
const versions: readonly number[] = [2, 3];

export interface GgufTensor {
  readonly name: string;
  readonly type: GgmlType;
  /** Outermost dimension first, as everywhere in this project. */
  readonly shape: readonly number[];
  readonly elements: number;
  /** Where the data begins, in bytes from the start of the file. */
  readonly offset: number;
  readonly bytes: number;
}

export interface GgufHeader {
  readonly version: number;
  readonly metadata: GgufMetadata;
  /** In the order of the header. */
  readonly tensors: ReadonlyMap<string, GgufTensor>;
}

const redownload = 'Download the file again';

/**
 * Reads and checks the header: when it returns, every tensor lies inside the file, is as long as
 * its shape says, and overlaps no other.
 * @throws InputError that names the file, the offset and, where there is one, the tensor
 */
export async function readGgufHeader(file: RangeFile): Promise<GgufHeader> {
  const { path } = file;
  const cursor = new HeaderCursor(file);
  await cursor.need(Math.min(4, file.size), 'the magic number');
  if (file.size < 4 || cursor.text(4) !== 'GGUF') {
    throw new InputError(
      "is not GGUF: it does not begin with 'GGUF'",
      { file: path, offset: 0 },
      'Give a GGUF file, or the directory of a Hugging Face model',
    );
  }
  await cursor.need(20, 'the header');
  const version = cursor.u32();
  checkVersion(version, path);
  const tensorCount = cursor.u64();
  if (tensorCount > maxTensors) {
    throw new InputError(`claims ${tensorCount} tensors (at most ${maxTensors})`, {
      file: path,
      offset: 8,
    });
  }
  const metadata = await readMetadata(cursor, cursor.u64(), path);
  const alignment = alignmentOf(metadata, path);
  const tensors = new Map<string, GgufTensor>();
  for (let index = 0; index < tensorCount; index++) {
    const at = cursor.offset;
    const tensor = await readTensor(cursor, index, alignment, path);
    if (tensors.has(tensor.name)) {
      throw new InputError('appears twice in the header', {
        file: path,
        tensor: tensor.name,
        offset: at,
      });
    }
    tensors.set(tensor.name, tensor);
  }
  const dataStart = Math.ceil(cursor.offset / alignment) * alignment;
  return { version, metadata, tensors: placed(tensors, dataStart, file) };
}

function checkVersion(version: number, path: string): void {
  if (versions.includes(version)) return;
  const place = { file: path, offset: 4 };
  // A small version number in reversed byte order.
  if (version >= 2 ** 16 && (version & 0xffff) === 0) {
    throw new InputError('is a big-endian GGUF file', place, 'Download the little-endian file');
  }
  const hint =
    version < 2 ? 'Create the file again with a newer converter' : 'A newer flashllm may read it';
  throw new InputError(`GGUF version ${version} is not supported (2 and 3 are)`, place, hint);
}

function alignmentOf(metadata: GgufMetadata, file: string): number {
  const value = metadata.get('general.alignment') ?? defaultAlignment;
  const isPower = typeof value === 'number' && value >= 1 && Number.isInteger(Math.log2(value));
  if (!isPower || value > maxAlignment) {
    throw new InputError(
      `general.alignment ${String(value)} is not a power of two up to ${maxAlignment}`,
      { file },
    );
  }
  return value;
}

/** An entry whose offset counts from the beginning of the data. */
async function readTensor(
  cursor: HeaderCursor,
  index: number,
  alignment: number,
  file: string,
): Promise<GgufTensor> {
  const at = cursor.offset;
  const name = await readText(cursor, maxNameBytes, `the name of tensor ${index}`, file);
  checkTensorName(name, file);
  const place = { file, tensor: name, offset: at };
  await cursor.need(4, `the entry of ${name}`);
  const dimensions = cursor.u32();
  if (dimensions > maxTensorDimensions) {
    throw new InputError(`has ${dimensions} dimensions (at most ${maxTensorDimensions})`, place);
  }
  await cursor.need(dimensions * 8 + 12, `the entry of ${name}`);
  const sizes = Array.from({ length: dimensions }, () => Number(cursor.u64()));
  const type = ggmlTypeOf(cursor.u32());
  const offset = Number(cursor.u64());

  const elements = elementCount(sizes);
  if (elements === undefined || elements === 0 || !sizes.every(Number.isSafeInteger)) {
    throw new InputError(`its sizes [${sizes.join(', ')}] are not valid tensor dimensions`, place);
  }
  const [columns = 1] = sizes;
  if (columns % type.blockElements !== 0) {
    throw new InputError(
      `its rows have ${columns} values, which is not a multiple of the ${type.blockElements} values of a ${type.name} block`,
      place,
    );
  }
  if (!Number.isSafeInteger(offset) || offset % alignment !== 0) {
    throw new InputError(
      `its data begins at byte ${offset}, which is not a multiple of the alignment, ${alignment}`,
      place,
    );
  }
  const bytes = (elements / type.blockElements) * type.blockBytes;
  return { name, type, shape: sizes.reverse(), elements, offset, bytes };
}

/** Checks that the data of each tensor lies inside the file and overlaps no other. */
function placed(
  tensors: ReadonlyMap<string, GgufTensor>,
  dataStart: number,
  file: RangeFile,
): ReadonlyMap<string, GgufTensor> {
  const result = new Map<string, GgufTensor>();
  for (const tensor of tensors.values()) {
    const offset = dataStart + tensor.offset;
    if (offset + tensor.bytes > file.size) {
      throw new InputError(
        `truncated: its data ends at byte ${offset + tensor.bytes}, but the file has ${file.size} bytes`,
        { file: file.path, tensor: tensor.name, offset },
        redownload,
      );
    }
    result.set(tensor.name, { ...tensor, offset });
  }
  const inOrder = [...result.values()].sort((a, b) => a.offset - b.offset);
  inOrder.forEach((tensor, index) => {
    const next = inOrder[index + 1];
    if (next === undefined || tensor.offset + tensor.bytes <= next.offset) return;
    throw new InputError(`its data overlaps the data of ${tensor.name}`, {
      file: file.path,
      tensor: next.name,
      offset: next.offset,
    });
  });
  return result;
}
