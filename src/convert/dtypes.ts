/** Decides the dtypes in which a model is stored, from its checkpoint and the user's options. */

import type { SourceTensor } from '../checkpoint/source.ts';
import {
  type DType,
  dtypeNames,
  type EncodedDType,
  type FloatDType,
  isNeuronDType,
  type NeuronDType,
} from '../dtype.ts';
import type { StorageDTypes } from '../flash/layout.ts';
import { ffnSources } from '../models/ffn-sources.ts';
import {
  activations,
  bundleRows,
  isRouter,
  type ModelRecipe,
  needsAllActivations,
  type WeightDTypes,
} from '../models/spec.ts';
import {
  apartByFormat,
  canBeTiled,
  exactDType,
  type KeptFormats,
  keptExperts,
  keptFfns,
  keptResident,
} from './kept-formats.ts';
import {
  type BlockTarget,
  baseOf,
  ChosenFormats,
  formatOfRows,
  isBlockTarget,
  neuronFormat,
  type TargetFormat,
} from './target-formats.ts';
import type { CheckedSource, Sources } from './weights.ts';

/** Number of weights in matrices by stored format, such as `f16` or `Q4_K`. */
export type SourceFormats = Readonly<Record<string, number>>;

/**
 * How a model's tensors are to be stored: in the checkpoint's format, or in one that f32 can be converted
 * to.
 */
export interface TargetDTypes extends StorageDTypes {
  readonly resident: EncodedDType;
  readonly bundles: EncodedDType;
}

export interface AskedDTypes {
  /** `auto`, the default, keeps the checkpoint's. */
  readonly dtype?: TargetFormat | 'auto';
  /** The format of the FFN, if it is to differ. */
  readonly ffnDtype?: TargetFormat;
  /** Neurons of each tile of an FFN; absent: single neurons. */
  readonly tile?: number;
}

/**
 * The format for a quantised checkpoint whose blocks cannot be kept. Quantising a second time adds an
 * error: with 8 bits it is negligible beside the first, with 4 bits it is a part of the first.
 */
const forQuantised: NeuronDType = 'q8';

/** The formats in which a checkpoint is stored. */
interface Storage {
  readonly storage: TargetDTypes;
  /** The given recipe, adjusted so that each tensor has one format. */
  readonly recipe: ModelRecipe;
  readonly formats: SourceFormats;
  /** What is stored in another way than one might expect, one sentence each. */
  readonly notes: readonly string[];
}

/** Decides the dtypes, and counts the weights of the checkpoint's matrices by format. */
export function storageOf(asked: AskedDTypes, recipe: ModelRecipe, sources: Sources): Storage {
  const { dtype = 'auto', ffnDtype, tile } = asked;
  if (tile !== undefined && needsAllActivations(recipe.spec)) {
    throw new RangeError(
      'FFNs whose activations are normed or rounded as one row cannot be cut into tiles',
    );
  }
  const matrices = matricesOf(recipe, sources);
  const formats: Record<string, number> = {};
  for (const { tensor } of matrices) {
    const format = formatOf(tensor);
    formats[format] = (formats[format] ?? 0) + tensor.shape.reduce((all, size) => all * size, 1);
  }
  const quantised = matrices.some(({ tensor }) => tensor.storedAs !== undefined);
  const exact = commonDType(matrices);
  const resident = dtype === 'auto' ? (quantised ? forQuantised : exact) : baseOf(dtype);
  // Several dtypes of single values are kept, too: all in the widest one may take twice the space.
  const keeps = dtype === 'auto' && (quantised || new Set(matrices.map(exactDType)).size > 1);
  const chosen = new ChosenFormats(sources);
  if (dtype !== 'auto' && isBlockTarget(dtype)) chosen.addResident(recipe, dtype);
  const target = ffnDtype ?? dtype;
  // The neurons of all layers have one dtype.
  const otherwise = quantised ? forQuantised : commonDType(ffnMatricesOf(recipe, sources));
  const ffns = ffnStorage({ target, tile, otherwise, quantised }, recipe, sources);
  if (ffns.blocks !== null) chosen.addFfns(recipe, ffns.blocks);
  if (target !== 'auto' && isBlockTarget(target)) chosen.addExperts(recipe, target);
  const byTensor = new Map<string, DType>([
    ...(keeps ? keptResident(recipe, sources) : []),
    ...(target === 'auto' && quantised ? keptExperts(recipe, sources) : []),
    ...ffns.formats,
    ...chosen.formats,
  ]);
  // Matrices that are not worth quantising again are stored in 16 bits, although the file had fewer.
  const storage = {
    resident,
    bundles: ffns.bundles,
    exact: quantised ? ('bf16' as const) : exact,
    ...(tile !== undefined && { tile }),
  };
  const notes = [...ffns.notes, ...chosen.notes];
  if (byTensor.size === 0) return { storage, recipe, formats, notes };
  return {
    storage: { ...storage, kept: byTensor },
    recipe: apartByFormat(recipe, (source) => byTensor.get(source) ?? resident),
    formats,
    notes,
  };
}

interface FfnStorage {
  /** The dtype of tensors that have no format of their own. */
  readonly bundles: EncodedDType;
  /** The formats that are kept. */
  readonly formats: KeptFormats;
  /** The format that each matrix is converted to. */
  readonly blocks: BlockTarget | null;
  readonly notes: readonly string[];
}

/** How FFNs are stored: in kept or new blocks where they can be cut into tiles, else as neurons. */
function ffnStorage(
  {
    target,
    tile,
    otherwise,
    quantised,
  }: {
    readonly target: TargetFormat | 'auto';
    readonly tile: number | undefined;
    readonly otherwise: NeuronDType;
    readonly quantised: boolean;
  },
  recipe: ModelRecipe,
  sources: Sources,
): FfnStorage {
  const blocks = target !== 'auto' && isBlockTarget(target) ? target : null;
  const bundles = target === 'auto' ? otherwise : neuronFormat(target);
  const formats =
    target === 'auto' && quantised ? keptFfns(recipe, sources) : new Map<string, DType>();
  if (blocks === null && (target !== 'auto' || !quantised)) {
    return { bundles, formats, blocks, notes: [] };
  }
  const { activation } = recipe.spec.ffn;
  const whole = needsAllActivations(recipe.spec);
  if (whole && isTernary(formats, recipe)) {
    return { bundles: 'ternary', formats: new Map(), blocks: null, notes: [] };
  }
  // Predictors choose single neurons, whose down columns are rows of their own.
  const sparse = whole || (activations[activation].zeros && tile === undefined);
  const formatOf = (source: string) => {
    const columns = sources(source).tensor.shape.at(-1) ?? 1;
    return blocks === null ? (formats.get(source) ?? bundles) : formatOfRows(blocks, columns);
  };
  if (!sparse && (tile !== undefined || canBeTiled(recipe, formatOf))) {
    return { bundles, formats, blocks, notes: [] };
  }
  const why = whole
    ? 'activations of all neurons are needed before the down projection'
    : sparse
      ? `with ${activation}, single neurons are chosen`
      : 'they cannot be cut into tiles';
  const note = `FFNs are stored as ${bundles} and not ${blocks === null ? 'in their blocks' : `as ${blocks}`}, because ${why}`;
  const notes = recipe.bundles.length === 0 ? [] : [note];
  return { bundles, formats: new Map(), blocks: null, notes };
}

/** Whether all matrices of FFNs are ternary and remain ternary. */
function isTernary(formats: KeptFormats, { bundles }: ModelRecipe): boolean {
  const names = bundles.flatMap((bundle) => [...bundleRows(bundle), bundle.down]);
  return names.every((name) => formats.get(name) === 'ternary');
}

/** The format of a tensor's values. */
export function formatOf({ storedAs, keptAs, dtype }: SourceTensor): string {
  return storedAs ?? keptAs ?? dtype;
}

/** The checkpoint's matrices that the recipe uses. */
function matricesOf(recipe: ModelRecipe, sources: Sources): readonly CheckedSource[] {
  const names = new Set<string>();
  for (const { source } of ffnSources(recipe)) names.add(source);
  for (const { name, parts, shape } of recipe.tensors) {
    // Files with everything else in 16 bits may have routers in f32, which is also how routers are stored
    // here.
    if (shape.length === 1 || isRouter(name)) continue;
    for (const { source } of parts) names.add(source);
  }
  return [...names].map((name) => sources(name));
}

function ffnMatricesOf(recipe: ModelRecipe, sources: Sources): readonly CheckedSource[] {
  return Array.from(ffnSources(recipe), ({ source }) => sources(source));
}

/** The dtype that keeps these matrices exact: their own, or f32 where they have several. */
function commonDType(matrices: readonly CheckedSource[]): FloatDType {
  const [only, ...more] = new Set(matrices.map(exactDType));
  return more.length === 0 && only !== undefined ? only : 'f32';
}

/** One line about formats: `Q4_K`, or `84% Q4_K, 16% Q6_K`, by number of weights. */
export function describeFormats(formats: SourceFormats): string {
  const all = Object.values(formats).reduce((sum, count) => sum + count, 0);
  const entries = Object.entries(formats).sort(([, a], [, b]) => b - a);
  if (entries.length === 1) return entries[0]?.[0] ?? '';
  return entries.map(([name, count]) => `${share(count / all)} ${name}`).join(', ');
}

function share(part: number): string {
  return part < 0.005 ? '<1%' : `${Math.round(100 * part)}%`;
}

/** Whether a name of {@link SourceFormats} is that of a quantisation. */
export function isQuantisation(format: string): boolean {
  return format === 'ternary' || !dtypeNames.some((name) => name === format);
}

/** `q8`, `f16, FFN q4`, or `several formats`. */
export function describeDTypes({ resident, bundles }: WeightDTypes): string {
  const [matrices, ffns] = [resident, bundles].map((dtype) =>
    dtype === 'mixed' ? 'several formats' : dtype,
  );
  return resident === bundles ? `${ffns}` : `${matrices}, FFN ${ffns}`;
}

/**
 * One line about how a quantised checkpoint's formats were stored.
 * @param asked the requested format: any other than `auto` is not kept
 */
export function describeKept(
  formats: SourceFormats,
  dtypes: WeightDTypes,
  { dtype = 'auto', ffnDtype }: AskedDTypes,
): string {
  const resident = dtype === 'auto' && isBlocks(dtypes.resident);
  const bundles = (ffnDtype ?? dtype) === 'auto' && isBlocks(dtypes.bundles);
  const found = describeFormats(formats);
  if (!resident && !bundles)
    return `dequantised from ${found}, stored as ${describeDTypes(dtypes)}`;
  if (resident && bundles) return `stored as they are: ${found}`;
  const [other, written] = resident
    ? ['the FFN', dtypes.bundles]
    : ['all but the FFN', dtypes.resident];
  return `stored as they are, but ${other} as ${written}: ${found}`;
}

/** Whether weights are in formats of GGUF files; of several, some are. */
function isBlocks(dtype: WeightDTypes['resident']): boolean {
  return dtype === 'mixed' || dtype === 'ternary' || !isNeuronDType(dtype);
}
