/**
 * Reads `flash.json` as if it were hostile: checks its checksum, its form, and then all of its numbers
 * against each other and against the files that they describe. See manifest-check.ts.
 */

import { join } from 'node:path';
import * as v from 'valibot';
import { parseJsonText } from '../checkpoint/json-file.ts';
import { type DType, dtypeNames } from '../dtype.ts';
import { InputError } from '../errors.ts';
import { type ModelSpec, modelSpecSchema, type WeightDTypes } from '../models/spec.ts';
import { readRegular } from '../regular-file.ts';
import { crcHex, decodeWords } from './checksum.ts';
import {
  type FfnUnits,
  ffnNames,
  layoutUnit,
  orientations,
  partNames,
  unitKinds,
} from './ffn-units.ts';
import {
  type BundleLayer,
  checksumField,
  formatVersion,
  type Manifest,
  manifestFile,
  noChecksum,
  type StoredTensor,
} from './manifest.ts';
import { problemsOf } from './manifest-check.ts';
import { noManifest } from './no-manifest.ts';

/**
 * The versions that can be read; fields that version 1 lacks have defaults, and FFNs of versions 1 and 2
 * consist of neurons.
 */
const readableVersions = [1, 2, formatVersion] as const;
/** From this version on the manifest describes FFNs as units. */
const firstWithUnits = 3;

/** Bytes: a model of 180 billion weights has 30 MB, nearly all of it checksums. */
const longestManifest = 256 * 2 ** 20;

const count = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
const positive = v.pipe(v.number(), v.safeInteger(), v.minValue(1));
const dtype = v.picklist(dtypeNames);
const commonDType = v.picklist([...dtypeNames, 'mixed']);

const unitsSchema = v.object({
  name: v.picklist(ffnNames),
  tensor: v.string(),
  kind: v.picklist(unitKinds),
  k: positive,
  count: positive,
  unitBytes: positive,
  parts: v.array(
    v.object({
      part: v.picklist(partNames),
      dtype,
      offset: count,
      shape: v.tuple([positive, positive]),
      orientation: v.exactOptional(v.picklist(orientations)),
    }),
  ),
});

const manifestSchema = v.object({
  formatVersion: v.picklist(readableVersions),
  producer: v.string(),
  architecture: modelSpecSchema,
  dtypes: v.object({ resident: commonDType, bundles: commonDType }),
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
  ffns: v.optional(v.array(v.array(unitsSchema))),
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

/**
 * Reads and checks a model directory's manifest.
 * @throws InputError when it is missing, of a newer version, damaged or inconsistent
 */
export async function readManifest(dir: string): Promise<Manifest> {
  const file = join(dir, manifestFile);
  let text: string;
  try {
    text = (await readRegular(file, longestManifest)).toString('utf8');
  } catch (cause) {
    if (cause instanceof InputError) throw cause;
    throw await noManifest(dir, cause as NodeJS.ErrnoException);
  }
  return parseManifest(text, file);
}

/** The manifest in `text`; `file` is named in errors. */
export function parseManifest(text: string, file: string): Manifest {
  const damaged = (what: string, cause?: unknown) =>
    new InputError(`damaged: ${what}`, { file }, 'Convert the checkpoint again', { cause });
  let json: unknown;
  try {
    json = parseJsonText(text, file);
  } catch (cause) {
    throw damaged((cause as Error).message, cause);
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
  const { architecture: spec, dtypes } = output;
  const layers = output.layers.map(
    ({ order, ...layer }): BundleLayer => ({
      ...layer,
      ...(order !== undefined && { order: decodeWords(order) }),
    }),
  );
  const ffns =
    output.formatVersion < firstWithUnits ? bundledFfns(layers, spec, dtypes.bundles) : output.ffns;
  if (ffns === undefined) throw damaged('it does not say what units its FFNs have (ffns)');
  const manifest: Manifest = {
    crc32: stored,
    producer: output.producer,
    spec,
    dtypes,
    ffns,
    layers,
    files: output.files,
    tensors,
  };
  for (const problem of problemsOf(manifest)) throw damaged(problem);
  return manifest;
}

/**
 * FFNs as described by versions before {@link firstWithUnits}; undefined where the description is not of that
 * form.
 */
function bundledFfns(
  layers: readonly BundleLayer[],
  spec: ModelSpec,
  dtype: WeightDTypes['bundles'],
): Manifest['ffns'] | undefined {
  return dtype === 'mixed' ? undefined : layers.map((layer) => [unitsOf(layer, spec, dtype)]);
}

function unitsOf(
  { tensor, neurons, bundleBytes }: BundleLayer,
  { hiddenSize, ffn }: ModelSpec,
  dtype: DType,
): FfnUnits {
  const gated = ffn.gate !== 'none';
  const { parts } = layoutUnit({ kind: 'neuron', k: 1, hiddenSize, gated, dtypeOf: () => dtype });
  const units = { k: 1, count: neurons, unitBytes: bundleBytes, parts };
  return { name: 'ffn', tensor, kind: 'neuron', ...units };
}
