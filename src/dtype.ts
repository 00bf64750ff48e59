/**
 * The number formats of weights, one row each. A `DType` is what flash.json calls a format that
 * weights are stored in; a packed format exists in memory only. The code that computes with a format is in
 * kernels/format-arithmetic.ts and format-kernel-table.ts.
 */

interface FormatRow {
  /** Values that are stored together: 1, or those of a block that shares a scale. */
  readonly blockElements: number;
  /** Bytes of such a block. */
  readonly blockBytes: number;
  /**
   * The name of the format in safetensors, where quantised rows are plain bytes. null: no file holds this
   * format.
   */
  readonly safetensors: string | null;
  /** Whether f32 can be converted to it. A format without an encoder is only read. */
  readonly encoder: boolean;
  /**
   * Whether FFN bundles can be stored in it. A bundle holds each neuron's column of `down` as a row of its
   * own. The blocks of GGUF files run along the neurons instead, so those formats are for matrices only.
   */
  readonly neurons: boolean;
  /** The packed format in which weights of this one stay in memory, if there is one. */
  readonly packedAs: string | null;
}

/** Blocks that f32 can be converted to. */
const encoded = (blockElements: number, blockBytes: number) =>
  ({
    blockElements,
    blockBytes,
    safetensors: 'U8',
    encoder: true,
    neurons: true,
    packedAs: null,
  }) as const;

/** Blocks as in GGUF files; f32 can be converted to some of these formats and not to others. */
const ofGguf = <Encoder extends boolean, PackedAs extends string | null>(
  blockElements: number,
  blockBytes: number,
  encoder: Encoder,
  packedAs: PackedAs,
) =>
  ({
    blockElements,
    blockBytes,
    safetensors: 'U8',
    encoder,
    neurons: false,
    packedAs,
  }) as const;

/** The same blocks of four rows, word by word, as drawn in assembly/packed-groups.ts. */
const fours = (blockElements: number, blockBytes: number) =>
  ({
    blockElements,
    blockBytes,
    safetensors: null,
    encoder: false,
    neurons: false,
    packedAs: null,
  }) as const;

const rows = {
  f32: {
    blockElements: 1,
    blockBytes: 4,
    safetensors: 'F32',
    encoder: true,
    neurons: true,
    packedAs: null,
  },
  f16: {
    blockElements: 1,
    blockBytes: 2,
    safetensors: 'F16',
    encoder: true,
    neurons: true,
    packedAs: 'packed_f16',
  },
  bf16: {
    blockElements: 1,
    blockBytes: 2,
    safetensors: 'BF16',
    encoder: true,
    neurons: true,
    packedAs: null,
  },
  // 32 values of 8 or 4 bits and a scale of 16 bits, as drawn in assembly/block.ts.
  q8: encoded(32, 34),
  q4: encoded(32, 18),
  // 256 values of -1, 0 or 1 and a scale of 32 bits, as drawn in assembly/ternary-rows.ts.
  ternary: encoded(256, 68),
  // The block formats of GGUF files, as drawn in checkpoint/gguf/dequantise.ts.
  q4_0: ofGguf(32, 18, true, 'packed_q4_0'),
  q4_1: ofGguf(32, 20, true, 'packed_q4_1'),
  q5_0: ofGguf(32, 22, true, 'packed_q5_0'),
  q5_1: ofGguf(32, 24, true, 'packed_q5_1'),
  q8_0: ofGguf(32, 34, true, null),
  iq4_nl: ofGguf(32, 18, false, null),
  iq4_xs: ofGguf(256, 136, false, null),
  mxfp4: ofGguf(32, 17, false, 'packed_mxfp4'),
  q2_k: ofGguf(256, 84, false, 'packed_q2_k'),
  q3_k: ofGguf(256, 110, false, 'packed_q3_k'),
  q4_k: ofGguf(256, 144, true, 'packed_q4_k'),
  q5_k: ofGguf(256, 176, true, 'packed_q5_k'),
  q6_k: ofGguf(256, 210, true, 'packed_q6_k'),
  // The same numbers as f16, rearranged as drawn in assembly/packed.ts.
  packed_f16: {
    blockElements: 1,
    blockBytes: 2,
    safetensors: null,
    encoder: false,
    neurons: true,
    packedAs: null,
  },
  packed_q4_0: fours(32, 18),
  packed_q4_1: fours(32, 20),
  packed_q5_0: fours(32, 22),
  packed_q5_1: fours(32, 24),
  packed_mxfp4: fours(32, 17),
  packed_q2_k: fours(256, 84),
  packed_q3_k: fours(256, 110),
  packed_q4_k: fours(256, 144),
  packed_q5_k: fours(256, 176),
  packed_q6_k: fours(256, 210),
} as const satisfies Readonly<Record<string, FormatRow>>;

type Rows = typeof rows;
/** Names of all formats: in flash.json, and in the names of kernels. */
export type FormatName = keyof Rows;
type NamesWhere<Row> = {
  [Name in FormatName]: Rows[Name] extends Row ? Name : never;
}[FormatName];

/** Formats that weights are stored in. */
export type DType = NamesWhere<{ readonly safetensors: string }>;
/** Those that f32 can be converted to. */
export type EncodedDType = NamesWhere<{ readonly safetensors: string; readonly encoder: true }>;
/** Those that FFN bundles can be in. */
export type NeuronDType = NamesWhere<{ readonly safetensors: string; readonly neurons: true }>;
/** The block formats of GGUF files. */
export type GgufDType = NamesWhere<{ readonly safetensors: string; readonly neurons: false }>;
/** Formats of single values, which checkpoints may hold as well. */
export type FloatDType = NamesWhere<{ readonly safetensors: string; readonly blockElements: 1 }>;
/** Those that exist in memory only. */
export type PackedFormat = NamesWhere<{ readonly safetensors: null }>;
/** Of these, those in which four rows lie together. */
export type FoursFormat = NamesWhere<{ readonly safetensors: null; readonly neurons: false }>;
/** Those in which each row lies by itself. */
export type RowFormat = Exclude<FormatName, FoursFormat>;

/** A format as weights carry it. */
export interface Format<Name extends FormatName = FormatName> extends FormatRow {
  readonly name: Name;
  readonly safetensors: Rows[Name]['safetensors'];
  readonly packedAs: PackedFormat | null;
  /** Whether values are stored in blocks, so that a row is more than a sequence of values. */
  readonly quantised: boolean;
  /** Whether it is an arrangement of another format's weights in memory. */
  readonly packed: boolean;
  /** Bytes of a row of `elements` values; a last block that is not full is stored in full. */
  rowBytes(elements: number): number;
}

function formatOf(name: FormatName): Format {
  const row = rows[name];
  const { blockElements, blockBytes, safetensors } = row;
  return {
    ...row,
    name,
    quantised: blockElements > 1,
    packed: safetensors === null,
    rowBytes: (elements) => Math.ceil(elements / blockElements) * blockBytes,
  };
}

/** Names of all formats, those that exist in memory only included. */
export const formatNames = Object.keys(rows) as readonly FormatName[];
/** Every format by its name. */
export const formats = Object.fromEntries(
  formatNames.map((name) => [name, formatOf(name)]),
) as unknown as { readonly [Name in FormatName]: Format<Name> };

export const dtypeNames = formatNames.filter((name): name is DType => !formats[name].packed);
export const encodedDTypes = dtypeNames.filter(
  (name): name is EncodedDType => formats[name].encoder,
);
export const neuronDTypes = dtypeNames.filter((name): name is NeuronDType => formats[name].neurons);
export const ggufDTypes = dtypeNames.filter((name): name is GgufDType => !formats[name].neurons);
export const floatDTypes = dtypeNames.filter(
  (name): name is FloatDType => !formats[name].quantised,
);

/** Formats that the KV cache can be stored in. */
export const kvDTypes = ['f32', 'f16'] as const satisfies readonly EncodedDType[];
export type KvDType = (typeof kvDTypes)[number];

/** Whether f32 can be converted to the format of this name. */
export function isEncodedDType(name: DType): name is EncodedDType {
  return formats[name].encoder;
}

/** Whether FFN bundles can be in the format of this name. */
export function isNeuronDType(name: FormatName): name is NeuronDType {
  return formats[name].neurons && !formats[name].packed;
}

/**
 * Whether a row of `elements` values can be stored in a format: the formats of GGUF files need whole
 * blocks.
 */
export function wholeBlocks(name: FormatName, elements: number): boolean {
  const { blockElements, neurons } = formats[name];
  return neurons || elements % blockElements === 0;
}

/** Whether four rows lie together in a format, so that kernels use them four at a time. */
export function inFours(format: Format): format is Format<FoursFormat> {
  return format.packed && !format.neurons;
}

/** The format in which weights of this one stay in memory: the packed one, or the same where there is none. */
export function packedFormat(format: Format): Format {
  return format.packedAs === null ? format : formats[format.packedAs];
}

/** `rowBytes` of the format of this name. */
export function byteLength(name: FormatName, elements: number): number {
  return formats[name].rowBytes(elements);
}

/** Whether the format of this name stores values in blocks. */
export function isQuantised(name: FormatName): boolean {
  return formats[name].quantised;
}

/** The value of a float16 that is neither negative nor NaN. */
export function positiveF16(bits: number): number {
  const exponent = bits >> 10;
  const fraction = bits & 1023;
  return exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15);
}
