/** Writing a model's neurons unbundled: gate, up and down matrices one after the other. */

import { statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import { createFile, writeFully } from '../aside.ts';
import { InputError, InterruptedError, withNothingLeft, writeError } from '../errors.ts';
import { removeEntry } from '../moving-files.ts';
import { createBuffer } from '../pages.ts';
import { alignUp, formatBytes } from '../units.ts';
import { sectorBytes } from './layout.ts';
import { type BundleLayer, rowsOf } from './manifest.ts';
import type { ModelFiles } from './model-files.ts';
import { cutRows, spanOf } from './row-range.ts';
import { layoutUnbundled } from './unbundled.ts';

const writeBytes = 4 * 1024 * 1024;

/**
 * Writes a model's neurons unbundled; on failure it removes the file.
 * @throws InputError when there is no room
 */
export async function writeUnbundled(
  files: ModelFiles,
  path: string,
  onProgress?: (doneBytes: number, totalBytes: number) => void,
  signal?: AbortSignal,
): Promise<void> {
  const { places, bytes } = layoutUnbundled(files.manifest);
  await checkSpace(path, bytes);
  const out = await createFile(path).catch((cause: unknown) => {
    throw writeError(cause, path);
  });
  try {
    let end = 0;
    const write = async (data: Uint8Array) => {
      if (signal?.aborted) throw new InterruptedError();
      await writeFully(out, data, end);
      end += data.length;
    };
    let done = 0;
    for (const { layer, rowBytes, matrices } of places.values()) {
      for (const part of matrices.keys()) {
        await writeMatrix(files, { layer, rowBytes, part }, write);
        done += layer.neurons * rowBytes;
        onProgress?.(done, bytes);
      }
    }
    await out.sync();
    await out.close();
  } catch (error) {
    await out.close().catch(() => {});
    await removeEntry(path);
    const system = error instanceof Error && 'code' in error;
    throw withNothingLeft(system ? writeError(error, path) : error);
  }
}

/** Writes one part of all bundles of a layer, then zeros up to the next sector. */
async function writeMatrix(
  files: ModelFiles,
  { layer, rowBytes, part }: { layer: BundleLayer; rowBytes: number; part: number },
  write: (data: Uint8Array) => Promise<void>,
): Promise<void> {
  const tensor = files.tensor(layer.tensor);
  const bundleBytes = rowsOf(tensor).rowBytes;
  const ranges = cutRows(tensor, writeBytes);
  const largest = ranges.reduce((most, range) => Math.max(most, spanOf(range).bytes), 0);
  const memory = createBuffer(largest);
  for (const range of ranges) {
    const address = await files.readRows(range, memory, 0);
    const bundles = Buffer.from(memory.buffer, address, range.count * bundleBytes);
    const rows = Buffer.alloc(range.count * rowBytes);
    for (let i = 0; i < range.count; i++) {
      const from = i * bundleBytes + part * rowBytes;
      bundles.copy(rows, i * rowBytes, from, from + rowBytes);
    }
    await write(rows);
  }
  const bytes = layer.neurons * rowBytes;
  await write(new Uint8Array(alignUp(bytes, sectorBytes) - bytes));
}

async function checkSpace(path: string, bytes: number): Promise<void> {
  const { bavail, bsize } = await statfs(dirname(path)).catch((cause: unknown) => {
    throw writeError(cause, path);
  });
  if (bavail * bsize >= bytes) return;
  throw new InputError(
    `the unbundled neurons take ${formatBytes(bytes)}, and ${formatBytes(bavail * bsize)} are free`,
    { file: path },
    'Free some space, name another directory, or leave out the rows that need them',
  );
}
