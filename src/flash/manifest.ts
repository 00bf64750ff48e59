/**
 * `flash.json`: what a model directory holds, where each tensor lies, and the checksum of every
 * block. It is the last file written, so a directory without it is not a model. See docs/FORMAT.md.
 */

import { readdir, readFile, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import * as v from 'valibot';
import { type DType, dtypeNames } from '../dtype.ts';
import { InputError } from '../errors.ts';
import { type ModelSpec, modelSpecSchema } from '../models/spec.ts';
import { crcHex, decodeWords, encodeWords } from './checksum.ts';

export const manifestFile = 'flash.json';
export const residentFile = 'resident.safetensors';
export const bundlesFile = 'bundles.safetensors';

/** Raised whenever a reader of the old version could not read the new one. */
export const formatVersion = 2;
/** What is read; what version 1 does not say has its default. */
const readableVersions = [1, formatVersion] as const;

/** Element type of a stored tensor; bundle tensors are plain bytes. */
export type StoredDType = DType | 'u8';

export interface StoredTensor {
  readonly name: string;
  readonly file: string;
  readonly dtype: StoredDType;
  /** `(n)`, `(rows, columns)`, or `(neurons, bundle bytes)`; a quantised row has more bytes than it seems. */
  readonly shape: readonly number[];
  /** Byte offset in the file. */
  readonly offset: number;
  readonly bytes: number;
  /** Rows of one checksummed block. A vector is one row. */
  readonly rowsPerBlock: number;
  /** CRC-32 of each block. */
  readonly checksums: Uint32Array;
}

/** Geometry of one layer's bundles. */
export interface BundleLayer {
  readonly tensor: string;
  readonly neurons: number;
  /** Distance between bundles: gate row, if the FFN is gated, up row, down column, padded to 512. */
  readonly bundleBytes: number;
  /** Where the up row starts in a bundle: behind the gate row, or at the beginning. */
  readonly upOffset: number;
  /** Where the down column starts in a bundle. */
  readonly downOffset: number;
  /**
   * (neurons): the checkpoint's number of each, where predict-train has laid those side by side that
   * fire together. All of the model has the new order; who has numbers of the checkpoint needs this.
   */
  readonly order?: Uint32Array;
}

export interface StoredFile {
  readonly bytes: number;
  /** CRC-32 of the whole file, or of the header alone for `.safetensors`, as hex. */
  readonly crc32: string;
  /** Length of the safetensors header with its length field, for `.safetensors`. */
  readonly headerBytes?: number | undefined;
}

export interface Manifest {
  /** The checksum of the file it was read from; empty for one that is yet to be written. */
  readonly crc32: string;
  readonly producer: string;
  readonly spec: ModelSpec;
  readonly dtypes: { readonly resident: DType; readonly bundles: DType };
  readonly layers: readonly BundleLayer[];
  readonly files: Readonly<Record<string, StoredFile>>;
  readonly tensors: ReadonlyMap<string, StoredTensor>;
}

/** Rows of a stored tensor and the bytes of one. */
export function rowsOf(tensor: StoredTensor): { rows: number; rowBytes: number } {
  const rows = tensor.shape.length > 1 ? (tensor.shape[0] ?? 1) : 1;
  return { rows, rowBytes: tensor.bytes / rows };
}

const count = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
const positive = v.pipe(v.number(), v.safeInteger(), v.minValue(1));
const dtype = v.picklist(dtypeNames);

const manifestSchema = v.object({
  formatVersion: v.picklist(readableVersions),
  producer: v.string(),
  architecture: modelSpecSchema,
  dtypes: v.object({ resident: dtype, bundles: dtype }),
  layers: v.array(
    v.object({
      tensor: v.string(),
      neurons: positive,
      bundleBytes: positive,
      upOffset: v.optional(count, 0),
      downOffset: positive,
      order: v.optional(v.string()),
    }),
  ),
  files: v.record(
    v.string(),
    v.object({ bytes: count, crc32: v.string(), headerBytes: v.optional(count) }),
  ),
  tensors: v.record(
    v.string(),
    v.object({
      file: v.string(),
      dtype: v.picklist([...dtypeNames, 'u8']),
      shape: v.array(positive),
      offset: count,
      bytes: positive,
      rowsPerBlock: positive,
      crc32: v.string(),
    }),
  ),
});

const noChecksum = '00000000';
const checksumField = /"crc32": "([0-9a-f]{8})"\n\}\n$/;

/** The text of `flash.json`; its last field is the CRC-32 of the text with that field zeroed. */
export function formatManifest(manifest: Manifest): string {
  const tensors = Object.fromEntries(
    [...manifest.tensors.values()].map(({ name, checksums, ...tensor }) => [
      name,
      { ...tensor, crc32: encodeWords(checksums) },
    ]),
  );
  const document = {
    formatVersion,
    producer: manifest.producer,
    architecture: manifest.spec,
    dtypes: manifest.dtypes,
    layers: manifest.layers.map(({ order, ...layer }) => ({
      ...layer,
      ...(order && { order: encodeWords(order) }),
    })),
    files: manifest.files,
    tensors,
    crc32: noChecksum,
  };
  const text = `${JSON.stringify(document, null, 1)}\n`;
  const field = (crc: string) => `"crc32": "${crc}"\n}\n`;
  return text.replace(checksumField, field(crcHex(text)));
}

/**
 * Reads and checks a model directory's manifest.
 * @throws InputError when it is missing, of a newer version, damaged or inconsistent
 */
export async function readManifest(dir: string): Promise<Manifest> {
  const file = join(dir, manifestFile);
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (cause) {
    throw new InputError(
      await whyNoManifest(dir, cause as NodeJS.ErrnoException),
      { file: dir },
      'Make a model with: flashllm convert <checkpoint> <model>',
      { cause },
    );
  }
  return parseManifest(text, file);
}

async function whyNoManifest(dir: string, error: NodeJS.ErrnoException): Promise<string> {
  const found = await stat(dir).catch(() => null);
  if (found === null) {
    // Between two renames nothing has the name: see OutputDirectory.
    const name = `${basename(resolve(dir))}.replaced-`;
    const siblings: string[] = await readdir(dirname(resolve(dir))).catch(() => []);
    const aside = siblings.find((sibling) => sibling.startsWith(name));
    return aside === undefined
      ? 'no such directory'
      : `no such directory; a process was killed while it replaced the model, which is in ${aside}: rename that`;
  }
  if (!found.isDirectory()) return 'is not a directory';
  const why = error.code === 'ENOENT' ? `no ${manifestFile} in it` : error.message;
  return `is not a flashllm model: ${why}`;
}

/** The manifest in `text`; `file` is named in errors. */
export function parseManifest(text: string, file: string): Manifest {
  const damaged = (what: string, cause?: unknown) =>
    new InputError(`damaged: ${what}`, { file }, 'Convert the checkpoint again', { cause });
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    // It quotes the text around the place, line breaks and all.
    throw damaged((cause as Error).message.replace(/\s+/g, ' '), cause);
  }
  const version = (json as { formatVersion?: unknown } | null)?.formatVersion;
  if (typeof version === 'number' && version > formatVersion) {
    throw new InputError(
      `format version ${version} is newer than this flashllm reads (${formatVersion})`,
      { file },
      'Update flashllm, or convert the checkpoint again with this one',
    );
  }
  const stored = checksumField.exec(text)?.[1];
  const zeroed = text.replace(checksumField, `"crc32": "${noChecksum}"\n}\n`);
  if (stored === undefined || stored !== crcHex(zeroed))
    throw damaged('its checksum does not match');
  const parsed = v.safeParse(manifestSchema, json);
  if (!parsed.success) {
    const issue = parsed.issues[0];
    throw damaged(`${v.getDotPath(issue) ?? 'document'}: ${issue.message}`);
  }
  const { output } = parsed;
  const tensors = new Map<string, StoredTensor>();
  for (const [name, { crc32, ...rest }] of Object.entries(output.tensors)) {
    tensors.set(name, { name, ...rest, checksums: decodeWords(crc32) });
  }
  return {
    crc32: stored,
    producer: output.producer,
    spec: output.architecture,
    dtypes: output.dtypes,
    layers: output.layers.map(({ order, ...layer }) => ({
      ...layer,
      ...(order !== undefined && { order: decodeWords(order) }),
    })),
    files: output.files,
    tensors,
  };
}
