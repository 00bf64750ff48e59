/** Writes `predictors.safetensors` atomically, replacing an existing one. */

import { join } from 'node:path';
import { writeAside, writeFully } from '../aside.ts';
import { writeError } from '../errors.ts';
import type { Manifest } from './manifest.ts';
import {
  layoutPredictors,
  type Part,
  type PredictorContents,
  predictorsFile,
} from './predictor-file.ts';

export interface PredictorSource extends PredictorContents {
  /** The bytes of a tensor whose checksum is known. */
  readonly bytes: (layer: number, part: Part) => Promise<Uint8Array>;
}

/**
 * Writes the predictors of the model in `dir`.
 * @returns bytes of the file
 * @throws InputError when it cannot be written; an existing file then stays unchanged
 */
export async function writePredictors(
  dir: string,
  manifest: Manifest,
  source: PredictorSource,
): Promise<number> {
  const { header, parts, bytes } = layoutPredictors(manifest, source);
  const path = join(dir, predictorsFile);
  try {
    await writeAside(path, async (file) => {
      await writeFully(file, header, 0);
      for (const { layer, part, tensor } of parts) {
        const data = await source.bytes(layer, part);
        if (data.length !== tensor.bytes) {
          throw new Error(`${tensor.name} has ${data.length} bytes, not ${tensor.bytes}`);
        }
        await writeFully(file, data, tensor.offset);
      }
      await file.truncate(bytes);
    });
  } catch (cause) {
    throw writeError(cause, path);
  }
  return bytes;
}
