/**
 * What a checkpoint would become, and what prevents its conversion, without reading a weight: answers "will
 * it run" before anything is converted.
 */

import type { AdapterReport } from '../checkpoint/lora/merged-source.ts';
import type { PlacedTensor } from '../flash/layout.ts';
import { bundlesFile, type Manifest, residentFile, rowsOf } from '../flash/manifest.ts';
import { activations, type ModelSpec, type WeightDTypes } from '../models/spec.ts';
import type { EndToken } from '../tokenizer/end-tokens.ts';
import { version } from '../version.ts';
import type { ActivationChange, Adaptation } from './adaptation.ts';
import type { Checkpoint, OpenCheckpoint } from './checkpoint.ts';
import type { AskedDTypes, SourceFormats } from './dtypes.ts';
import { type Examination, examineCheckpoint } from './examine.ts';

const noChecksums = new Uint32Array();

export interface CheckpointReport {
  readonly checkpoint: string;
  readonly format: Checkpoint['format'];
  /** Bytes of weights; null when they cannot be opened. */
  readonly checkpointBytes: number | null;
  readonly spec: ModelSpec;
  /** The formats of the matrices, by number of weights; null when they cannot be opened. */
  readonly formats: SourceFormats | null;
  /** The adapters that would be merged into it, in this order. */
  readonly adapters: readonly AdapterReport[];
  /** The activation, if it is not the checkpoint's own. */
  readonly activation: ActivationChange | null;
  /** The formats that conversion would store. */
  readonly dtypes: WeightDTypes;
  /** Bytes of its weights. */
  readonly modelBytes: number;
  readonly ffn: FfnKind;
  /** The tokens that end a text; null when the tokenizer cannot be used. */
  readonly endTokens: readonly EndToken[] | null;
  /** The problems that prevent conversion, one line each; none: it can be converted. */
  readonly problems: readonly string[];
  /** Where the conversion deviates from its files, one sentence each. */
  readonly notes: readonly string[];
  /** The model that conversion would write, its checksums all 0: enough to plan with. */
  readonly manifest: Manifest;
}

export interface FfnKind {
  readonly neurons: number;
  readonly activation: string;
  /** Whether most activations are zero, so that predictors can leave neurons out. */
  readonly sparse: boolean;
}

/**
 * Inspects a Hugging Face directory or a GGUF file, which `open` opens.
 * @throws InputError when the model cannot be identified, or when its family is not supported
 */
export async function inspectCheckpoint(
  path: string,
  asked: AskedDTypes & Adaptation = {},
  open?: OpenCheckpoint,
): Promise<CheckpointReport> {
  const found = await examineCheckpoint(path, asked, open);
  await found.close();
  const { checkpoint, spec, formats, problems, notes } = found;
  const manifest = manifestOf(found);
  const { neurons, activation } = spec.ffn;
  return {
    checkpoint: path,
    format: checkpoint?.format ?? 'Hugging Face',
    checkpointBytes: checkpoint?.source.bytes ?? null,
    spec,
    formats,
    adapters: found.adapters,
    activation: found.activation,
    dtypes: manifest.dtypes,
    modelBytes: [residentFile, bundlesFile].reduce(
      (sum, file) => sum + (manifest.files[file]?.bytes ?? 0),
      0,
    ),
    ffn: { neurons, activation, sparse: activations[activation].zeros },
    endTokens: found.side?.endTokens ?? null,
    problems: problems.map(({ line }) => line),
    notes,
    manifest,
  };
}

function manifestOf({ spec, layout, side }: Examination): Manifest {
  const files = [layout.resident, layout.bundles];
  const tensors = files.flatMap((file) => file.tensors);
  const blocksOf = (tensor: PlacedTensor) =>
    Math.ceil(rowsOf({ ...tensor, checksums: noChecksums }).rows / tensor.rowsPerBlock);
  // One array for all tensors, as long as the longest list: there may be many, and all checksums are 0.
  const zeros = new Uint32Array(Math.max(...tensors.map(blocksOf)));
  return {
    crc32: '',
    producer: `flashllm ${version}`,
    spec,
    dtypes: layout.dtypes,
    ffns: layout.ffns,
    layers: layout.layers,
    files: Object.fromEntries([
      ...files.map(({ file, bytes }) => [file, { bytes, crc32: '' }] as const),
      ...[...(side?.files ?? [])].map(
        ([name, { length: bytes }]) => [name, { bytes, crc32: '' }] as const,
      ),
    ]),
    tensors: new Map(
      tensors.map((tensor) => [
        tensor.name,
        { ...tensor, checksums: zeros.subarray(0, blocksOf(tensor)) },
      ]),
    ),
  };
}
