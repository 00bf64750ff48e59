/**
 * Model directories whose checksums are right although something in them is not: what a checksum
 * keeps out, someone who writes files for others to open puts behind it.
 */

import { BlockChecksums, crcHex, encodeWords } from '../../../src/flash/checksum.ts';
import { manifestFile } from '../../../src/flash/manifest.ts';
import { predictorsFile } from '../../../src/flash/predictor-file.ts';
import type { Files } from '../files.ts';
import { mendPredictors } from './predictors.ts';

/** What is read of flash.json here; nobody has checked it. */
interface LooseManifest {
  readonly files: Record<string, { bytes: number; crc32: string; headerBytes?: number }>;
  readonly tensors: Record<
    string,
    {
      file: string;
      offset: number;
      bytes: number;
      shape: number[];
      rowsPerBlock: number;
      crc32: string;
    }
  >;
  crc32: string;
}

/** Has flash.json say of the file `name` what is true of it. */
export function mendEntry(files: Files, name: string): void {
  const content = files.get(name);
  const text = files.get(manifestFile);
  if (!Buffer.isBuffer(content) || !Buffer.isBuffer(text)) return;
  try {
    const manifest = JSON.parse(text.toString()) as LooseManifest;
    const stored = manifest.files[name];
    if (stored === undefined) return;
    stored.bytes = content.length;
    if (stored.headerBytes === undefined) {
      stored.crc32 = crcHex(content);
    } else {
      const length = content.length < 8 ? 0 : Number(content.readBigUInt64LE());
      stored.headerBytes = Math.min(8 + length, content.length);
      stored.crc32 = crcHex(content.subarray(0, stored.headerBytes));
      mendBlocks(manifest, name, content);
    }
    files.set(manifestFile, Buffer.from(JSON.stringify(manifest)));
  } catch {
    // It is broken already, or too deep for us.
  }
}

/** The checksums of the blocks of all tensors in the file `name`. */
function mendBlocks({ tensors }: LooseManifest, name: string, content: Buffer): void {
  for (const tensor of Object.values(tensors)) {
    if (tensor.file !== name) continue;
    const rows = tensor.shape.length > 1 ? (tensor.shape[0] ?? 1) : 1;
    const blockBytes = (tensor.bytes / rows) * tensor.rowsPerBlock;
    if (!(blockBytes >= 1)) continue;
    const sums = new BlockChecksums(blockBytes);
    sums.add(content.subarray(tensor.offset, tensor.offset + tensor.bytes));
    tensor.crc32 = encodeWords(sums.finish());
  }
}

const checksumEntry = /,?\s*"crc32":\s*"[^"]*"\s*\}\s*$/;
const unset = '00000000';

/** Makes the checksum of flash.json right, and has the predictors belong to it. */
export function mendManifest(files: Files): void {
  const text = files.get(manifestFile);
  if (!Buffer.isBuffer(text)) return;
  const whole = text.toString();
  const end = checksumEntry.exec(whole) ?? /\}\s*$/.exec(whole);
  const document = whole.slice(0, end?.index);
  const withField = (crc: string) => `${document},\n "crc32": "${crc}"\n}\n`;
  const crc = crcHex(withField(unset));
  files.set(manifestFile, Buffer.from(withField(crc)));
  const predictors = files.get(predictorsFile);
  if (Buffer.isBuffer(predictors)) files.set(predictorsFile, mendPredictors(predictors, crc));
}
