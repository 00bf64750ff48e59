/**
 * Neurons as a checkpoint has them: for each layer a matrix of all up rows, then one of all down
 * columns, so that a neuron is two scattered reads. It is what bundles are compared with; see bench.
 *
 *   | layer 0: up rows | down columns | layer 1: up rows | ...      each matrix 4096-aligned
 *
 * A gated bundle has one matrix more, of gate rows. The file has no header and does not outlive the
 * comparison; what is read is checked as bundles are.
 */

import { rm, statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import { createFile, writeFully } from '../aside.ts';
import { byteLength } from '../dtype.ts';
import { InputError, InterruptedError, withNothingLeft, writeError } from '../errors.ts';
import { createBuffer } from '../pages.ts';
import { alignUp, formatBytes } from '../units.ts';
import type { DeviceFile } from './device-file.ts';
import { sectorBytes } from './layout.ts';
import { type BundleLayer, type Manifest, rowsOf, type StoredTensor } from './manifest.ts';
import type { ModelFiles, RowPlaces } from './model-files.ts';
import type { Extent } from './read-plan.ts';
import { cutRows, spanOf } from './row-range.ts';

/** One layer's matrices. */
interface LayerPlace {
  readonly layer: BundleLayer;
  /** Bytes of one matrix's row. */
  readonly rowBytes: number;
  /** Where each matrix begins in the file: the parts of a bundle in order. */
  readonly matrices: readonly number[];
}

/** Where everything lies, by the name of the layer's bundles, and how long the file is. */
function layoutUnbundled({ layers, spec, dtypes }: Manifest) {
  const places = new Map<string, LayerPlace>();
  const rowBytes = byteLength(dtypes.bundles, spec.hiddenSize);
  let end = 0;
  for (const layer of layers) {
    const parts = layer.downOffset / rowBytes + 1;
    const matrices = Array.from({ length: parts }, () => {
      const at = end;
      end = alignUp(end + layer.neurons * rowBytes, sectorBytes);
      return at;
    });
    places.set(layer.tensor, { layer, rowBytes, matrices });
  }
  return { places, bytes: end };
}

export class UnbundledNeurons {
  readonly #file: DeviceFile;
  readonly #places: ReadonlyMap<string, LayerPlace>;

  /** @throws InputError when the file is not as long as one of this model */
  constructor(manifest: Manifest, file: DeviceFile) {
    const { places, bytes } = layoutUnbundled(manifest);
    if (file.size !== bytes) {
      const place = { file: file.path };
      throw new InputError(`has ${file.size} bytes, not the ${bytes} of this model's FFNs`, place);
    }
    this.#file = file;
    this.#places = places;
  }

  /** What to read for neurons of a layer, each to the place of its bundle; null for other tensors. */
  extents(tensor: StoredTensor, places: RowPlaces, memory: WebAssembly.Memory): Extent[] | null {
    const found = this.#places.get(tensor.name);
    if (found === undefined) return null;
    const { rowBytes, matrices } = found;
    return matrices.flatMap((matrix, part) =>
      places.rows.map((row, i) => ({
        file: this.#file,
        position: matrix + row * rowBytes,
        target: new Uint8Array(
          memory.buffer,
          (places.addresses[i] ?? 0) + part * rowBytes,
          rowBytes,
        ),
      })),
    );
  }
}

const writeBytes = 4 * 1024 * 1024;

/**
 * Writes a model's neurons unbundled; on failure nothing is left behind.
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
    await rm(path, { force: true });
    const system = error instanceof Error && 'code' in error;
    throw withNothingLeft(system ? writeError(error, path) : error);
  }
}

/** Writes one part of all bundles of a layer, and zeros up to the next sector. */
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
    'Free some space, name another directory, or leave out what needs them',
  );
}
