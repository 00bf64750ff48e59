/**
 * The place of every tensor in a model directory: a pure function of the recipe and the dtypes, computed
 * before any file is written.
 *
 *   resident.safetensors   | header | vectors, 64-aligned | matrices, each 4096-aligned |
 *   bundles.safetensors    | header | layer 0's units, 4096-aligned | layer 1's | ...
 *
 * ffn-units.ts defines units.
 *
 * Matrices lie in the order in which a token uses them, so that streaming them is one sweep.
 */

import { byteLength, type DType, type FloatDType, formats, isQuantised } from '../dtype.ts';
import {
  type BundleRecipe,
  bundleRows,
  type ExpertsRecipe,
  isRouter,
  type ModelRecipe,
  type TensorRecipe,
  tensorNames,
  type WeightDTypes,
} from '../models/spec.ts';
import { alignUp } from '../units.ts';
import { rowsPerBlock } from './checksum.ts';
import { type FfnUnits, layoutUnit, type PartName, tileNeurons, unitTensor } from './ffn-units.ts';
import {
  type BundleLayer,
  bundleLayers,
  bundlesFile,
  type Manifest,
  residentFile,
  type StoredTensor,
} from './manifest.ts';

/** On every known device, direct reads accept this alignment of offset, length and address. */
export const sectorBytes = 4096;
/** A cache line. */
export const vectorAlignment = 64;

/** A tensor with a place but no checksums yet. */
export type PlacedTensor = Omit<StoredTensor, 'checksums'>;

export interface FileLayout {
  readonly file: string;
  /** The safetensors header with its length field, padded with spaces to a whole sector. */
  readonly header: Uint8Array;
  readonly tensors: readonly PlacedTensor[];
  /** Length of the whole file. */
  readonly bytes: number;
}

export interface ModelLayout {
  readonly resident: FileLayout;
  readonly bundles: FileLayout;
  readonly dtypes: WeightDTypes;
  /** Per layer its FFNs. */
  readonly ffns: Manifest['ffns'];
  readonly layers: readonly BundleLayer[];
}

/** A tensor without a place yet. */
export interface Unplaced {
  readonly name: string;
  readonly dtype: PlacedTensor['dtype'];
  readonly shape: readonly number[];
  readonly bytes: number;
  readonly alignment: number;
  readonly rowsPerBlock: number;
}

/** How a model's tensors are stored. */
export interface StorageDTypes {
  /** For matrices and FFNs that do not keep the checkpoint's format. */
  readonly resident: DType;
  readonly bundles: DType;
  /** For tensors that are not worth quantising: the lossless dtype; f32 unless given. */
  readonly exact?: FloatDType;
  /** Neurons of a tile; if absent, each neuron is a unit. */
  readonly tile?: number;
  /**
   * Checkpoint tensors with an individual format, mostly the one that they have already. An FFN with one of
   * these matrices is cut into tiles.
   */
  readonly kept?: ReadonlyMap<string, DType>;
}

/**
 * The dtype of a resident tensor. Vectors are f32. Learned positions are never quantised: a token reads one
 * row of that table, so quantising would save only disk space, and every layer would see the error. Routers
 * are f32: they are a thousandth of their model, and a rounding error that changes a choice replaces a whole
 * expert.
 */
export function residentDType(
  { name, shape, parts }: TensorRecipe,
  { resident, exact = 'f32', kept }: StorageDTypes,
): DType {
  if (shape.length === 1) return 'f32';
  if (isRouter(name)) return 'f32';
  if (name === tensorNames.positions && isQuantised(resident)) return exact;
  return kept?.get(parts[0]?.source ?? '') ?? resident;
}

/** The matrices of a recipe that are not in FFNs and may be quantised: tables of positions and routers are not. */
export function quantisable({ tensors }: ModelRecipe): readonly TensorRecipe[] {
  return tensors.filter(
    ({ name, shape }) => shape.length > 1 && name !== tensorNames.positions && !isRouter(name),
  );
}

export function layoutModel(recipe: ModelRecipe, weights: StorageDTypes): ModelLayout {
  const vectors = recipe.tensors.filter(({ shape }) => shape.length === 1);
  const matrices = recipe.tensors.filter(({ shape }) => shape.length > 1);
  const ffns = layoutFfns(recipe, weights);
  const dtypesOf = (tensors: readonly TensorRecipe[]) =>
    tensors.map((matrix) => residentDType(matrix, weights));
  return {
    resident: layoutFile(residentFile, [
      ...vectors.map(placeVector),
      ...matrices.map((matrix) => placeMatrix(matrix, residentDType(matrix, weights))),
    ]),
    bundles: layoutFile(bundlesFile, ffns.flat().map(placeUnits)),
    dtypes: {
      resident: commonDType(dtypesOf(quantisable(recipe))),
      bundles: commonDType(ffns.flat().flatMap(({ parts }) => parts.map(({ dtype }) => dtype))),
    },
    ffns,
    layers: bundleLayers(ffns),
  };
}

/** The dtype that all have in common. */
function commonDType([first = 'f32', ...more]: readonly DType[]): DType | 'mixed' {
  return more.every((dtype) => dtype === first) ? first : 'mixed';
}

/** The FFNs of all layers. */
function layoutFfns(recipe: ModelRecipe, storage: StorageDTypes): FfnUnits[][] {
  const ffns = Array.from({ length: recipe.spec.layers }, (): FfnUnits[] => []);
  const isMixture = recipe.experts.length > 0;
  for (const bundle of recipe.bundles) {
    ffns[bundle.layer]?.push(layoutFfn(bundle, storage, isMixture));
  }
  for (const experts of recipe.experts) ffns[experts.layer]?.push(layoutExperts(experts, storage));
  return ffns;
}

/** The experts of a layer, all in the same layout. */
function layoutExperts(
  { layer, neurons: k, hiddenSize, experts }: ExpertsRecipe,
  { bundles, kept }: StorageDTypes,
): FfnUnits {
  const [first] = experts;
  const dtypeOf = (part: PartName) => kept?.get(first?.[part]?.source ?? '') ?? bundles;
  const gated = first?.gate !== undefined;
  const layout = layoutUnit({ kind: 'expert', k, hiddenSize, gated, dtypeOf });
  const tensor = unitTensor(layer, 'experts', 'expert');
  return { name: 'experts', tensor, kind: 'expert', k, count: experts.length, ...layout };
}

/**
 * An FFN for all tokens, in neurons or in tiles.
 * @param tiled whether to cut it into tiles where possible: no predictor chooses its neurons
 */
function layoutFfn(bundle: BundleRecipe, storage: StorageDTypes, tiled: boolean): FfnUnits {
  const { layer, ffn: name, neurons, hiddenSize, gate } = bundle;
  const { bundles, kept } = storage;
  const dtypeOf = (part: PartName) => kept?.get(bundle[part] ?? '') ?? bundles;
  const { blockElements } = formats[dtypeOf('down')];
  const gated = gate !== undefined;
  const whole = layoutUnit({ kind: 'tile', k: neurons, hiddenSize, gated, dtypeOf });
  const isKept = bundleRows(bundle)
    .concat(bundle.down)
    .some((name) => kept?.has(name));
  const tile =
    storage.tile ?? (isKept || tiled ? tileNeurons(neurons, blockElements, whole.unitBytes) : null);
  const [kind, k] = tile === null ? (['neuron', 1] as const) : (['tile', tile] as const);
  if (neurons % k !== 0 || (kind === 'tile' && k % blockElements !== 0)) {
    throw new RangeError(
      `${neurons} neurons cannot be cut into tiles of ${k}: k divides them and is a multiple of ${blockElements}`,
    );
  }
  const geometry = { kind, k, hiddenSize, gated, dtypeOf };
  const tensor = unitTensor(layer, name, kind);
  return { name, tensor, kind, k, count: neurons / k, ...layoutUnit(geometry) };
}

function placeVector({ name, shape }: TensorRecipe): Unplaced {
  const bytes = byteLength('f32', shape[0] ?? 0);
  return { name, dtype: 'f32', shape, bytes, alignment: vectorAlignment, rowsPerBlock: 1 };
}

function placeMatrix({ name, shape }: TensorRecipe, dtype: DType): Unplaced {
  const [rows = 0, columns = 0] = shape;
  const rowBytes = byteLength(dtype, columns);
  return {
    name,
    dtype,
    shape,
    bytes: rows * rowBytes,
    alignment: sectorBytes,
    rowsPerBlock: rowsPerBlock(rowBytes),
  };
}

function placeUnits({ tensor, count, unitBytes }: FfnUnits): Unplaced {
  return {
    name: tensor,
    dtype: 'u8',
    shape: [count, unitBytes],
    bytes: count * unitBytes,
    alignment: sectorBytes,
    rowsPerBlock: 1,
  };
}

/** A tensor's entry in the header, which describes quantised rows only as bytes. */
function safetensorsType({ dtype, shape, bytes }: Unplaced) {
  if (dtype === 'u8') return { dtype: 'U8', shape };
  const [rows = 1] = shape;
  return {
    dtype: formats[dtype].safetensors,
    shape: isQuantised(dtype) ? [rows, bytes / rows] : shape,
  };
}

/** Lays out tensors in one of the model's safetensors files; `metadata` goes into its header. */
export function layoutFile(
  file: string,
  tensors: readonly Unplaced[],
  metadata: Readonly<Record<string, string>> = {},
): FileLayout {
  // safetensors allows no holes: the bytes that alignment skips become a separate tensor.
  const entries: Record<string, unknown> = {};
  const placed: { tensor: Unplaced; begin: number }[] = [];
  let end = 0;
  let paddings = 0;
  const pad = (to: number) => {
    if (to === end) return;
    entries[`padding.${paddings++}`] = { dtype: 'U8', shape: [to - end], data_offsets: [end, to] };
    end = to;
  };
  for (const tensor of tensors) {
    pad(alignUp(end, tensor.alignment));
    const begin = end;
    end += tensor.bytes;
    entries[tensor.name] = { ...safetensorsType(tensor), data_offsets: [begin, end] };
    placed.push({ tensor, begin });
  }
  pad(alignUp(end, sectorBytes));

  const json = Buffer.from(
    JSON.stringify({ __metadata__: { format: 'flashllm', ...metadata }, ...entries }),
  );
  const headerBytes = alignUp(8 + json.length, sectorBytes);
  const header = Buffer.alloc(headerBytes, ' ');
  header.writeBigUInt64LE(BigInt(headerBytes - 8));
  json.copy(header, 8);
  return {
    file,
    header,
    tensors: placed.map(({ tensor: { alignment: _, ...tensor }, begin }) => ({
      ...tensor,
      file,
      offset: headerBytes + begin,
    })),
    bytes: headerBytes + end,
  };
}
