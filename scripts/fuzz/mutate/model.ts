/**
 * Model directories whose checksums are right although something in them is wrong: an attacker who writes
 * files for others to open can correct the checksums, too.
 */

import { BlockChecksums, crcHex, encodeWords } from '../../../src/flash/checksum.ts';
import { manifestFile } from '../../../src/flash/manifest.ts';
import { predictorsFile } from '../../../src/flash/predictor-file.ts';
import type { Files } from '../files.ts';
import { mendPredictors } from './predictors.ts';

/** The part of flash.json that is read here; it is not validated. */
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

/** Corrects the facts about the file `name` in flash.json. */
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

/** Corrects the checksum of flash.json, and the checksum by which the predictors refer to it. */
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
