/** Reads a whole model directory and checks every block, many reads in flight. */

import { InterruptedError } from '../errors.ts';
import { createBuffer } from '../pages.ts';
import { forEachParallel } from '../parallel.ts';
import { sectorBytes } from './layout.ts';
import { rowsOf } from './manifest.ts';
import type { ModelFiles } from './model-files.ts';
import { predictorTensors } from './predictor-file.ts';
import { cutRows, spanOf } from './row-range.ts';

export interface VerifyReport {
  readonly bytes: number;
  readonly blocks: number;
  readonly ms: number;
}

/**
 * Reads of 1 MiB reach the device's full rate; eight in flight keep it there while checksums are computed.
 */
const readBytes = 1024 * 1024;
const readsInFlight = 8;

/**
 * Checks every block of every tensor.
 * @throws InputError at the first damaged block, with file, tensor and offset
 */
export async function verifyModel(
  files: ModelFiles,
  onProgress?: (doneBytes: number, totalBytes: number) => void,
  signal?: AbortSignal,
): Promise<VerifyReport> {
  const started = performance.now();
  const tensors = [...files.manifest.tensors.values(), ...predictorTensors(files.predictors)];
  const totalBytes = tensors.reduce((sum, { bytes }) => sum + bytes, 0);
  const blocks = tensors.reduce((sum, { checksums }) => sum + checksums.length, 0);
  const ranges = tensors.flatMap((tensor) => cutRows(tensor, readBytes));
  // Not Math.max(...): a large model has more ranges than a call can take as arguments.
  const slotBytes = ranges.reduce(
    (most, range) => Math.max(most, spanOf(range).bytes),
    sectorBytes,
  );
  const memory = createBuffer(slotBytes * readsInFlight);
  let doneBytes = 0;
  await forEachParallel(ranges, readsInFlight, async (range, lane) => {
    if (signal?.aborted) throw new InterruptedError();
    await files.readRows(range, memory, lane * slotBytes, 'prefetch');
    doneBytes += range.count * rowsOf(range.tensor).rowBytes;
    onProgress?.(doneBytes, totalBytes);
  });
  return { bytes: totalBytes, blocks, ms: performance.now() - started };
}
