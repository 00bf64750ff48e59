/** Writes a GGUF file at the speed of the disk: tensors come in parts, of which a few MiB are in memory. */

import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import { text, u32, u64 } from '../../test/support/gguf.ts';

/** A tensor whose bytes are made when they are written. */
export interface MadeGgufTensor {
  readonly name: string;
  /** Columns first, as GGUF has them. */
  readonly sizes: readonly number[];
  /** ggml's code. */
  readonly type: number;
  readonly bytes: number;
  /** Its bytes in order; a part is copied before the next one is asked for. */
  readonly parts: () => Iterable<Uint8Array>;
}

/** A key, and its type with its value as `value` in test/support/gguf.ts makes them. */
export type GgufEntry = readonly [key: string, value: Buffer];

const alignment = 32;
const bufferBytes = 16 * 1024 * 1024;

const paddingOf = (bytes: number) => (alignment - (bytes % alignment)) % alignment;

/**
 * Writes the file.
 * @returns its bytes
 * @throws Error when the disk has not enough room
 */
export async function writeGguf(
  file: string,
  metadata: readonly GgufEntry[],
  tensors: readonly MadeGgufTensor[],
): Promise<number> {
  let offset = 0;
  const entries = tensors.map(({ name, sizes, type, bytes }) => {
    const entry = [text(name), u32(sizes.length), ...sizes.map(u64), u32(type), u64(offset)];
    offset += bytes + paddingOf(bytes);
    return Buffer.concat(entry);
  });
  const header = Buffer.concat([
    Buffer.from('GGUF'),
    u32(3),
    u64(tensors.length),
    u64(metadata.length),
    ...metadata.flatMap(([key, bytes]) => [text(key), bytes]),
    ...entries,
  ]);
  const total = header.length + paddingOf(header.length) + offset;
  const { bavail, bsize } = await statfs(dirname(file));
  if (bavail * bsize < total * 1.01) {
    throw new Error(`${file} needs ${(total / 1e9).toFixed(1)} GB of disk`);
  }
  const out = createWriteStream(file, { highWaterMark: bufferBytes });
  const write = async (data: Uint8Array) => {
    if (!out.write(data)) await once(out, 'drain');
  };
  await write(header);
  await write(Buffer.alloc(paddingOf(header.length)));
  for (const { name, bytes, parts } of tensors) {
    let written = 0;
    for (const part of parts()) {
      await write(part);
      written += part.length;
    }
    if (written !== bytes) throw new Error(`${name} has ${written} of ${bytes} bytes`);
    await write(Buffer.alloc(paddingOf(bytes)));
  }
  out.end();
  await once(out, 'close');
  return total;
}
