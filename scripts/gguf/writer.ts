/** Writes a GGUF file at the speed of the disk: tensors come in parts, of which a few MiB are in memory. */

import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { dirname } from 'node:path';
import { freeBytes } from '../../src/free-space.ts';
import { ggufHeader, ggufPadding } from '../../test/support/gguf.ts';

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

/** A key, and its type and value in the form that `value` in test/support/gguf.ts returns. */
export type GgufEntry = readonly [key: string, value: Buffer];

const bufferBytes = 16 * 1024 * 1024;

/**
 * Writes the file.
 * @returns its bytes
 * @throws Error if the disk does not have enough space
 */
export async function writeGguf(
  file: string,
  metadata: readonly GgufEntry[],
  tensors: readonly MadeGgufTensor[],
): Promise<number> {
  const header = ggufHeader({ metadata, tensors });
  const total = tensors.reduce(
    (sum, { bytes }) => sum + bytes + ggufPadding(bytes).length,
    header.length,
  );
  if ((await freeBytes(dirname(file))) < total * 1.01) {
    throw new Error(`${file} needs ${(total / 1e9).toFixed(1)} GB of disk`);
  }
  const out = createWriteStream(file, { highWaterMark: bufferBytes });
  const write = async (data: Uint8Array) => {
    if (!out.write(data)) await once(out, 'drain');
  };
  await write(header);
  for (const { name, bytes, parts } of tensors) {
    let written = 0;
    for (const part of parts()) {
      await write(part);
      written += part.length;
    }
    if (written !== bytes) throw new Error(`${name} has ${written} of ${bytes} bytes`);
    await write(ggufPadding(bytes));
  }
  out.end();
  await once(out, 'close');
  return total;
}
