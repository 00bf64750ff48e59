/** Which dtypes a model is stored in, by what its checkpoint holds and what was asked for. */

import type { SourceTensor } from '../checkpoint/source.ts';
import {
  dtypeNames,
  type EncodedDType,
  type FloatDType,
  floatDTypes,
  isEncodedDType,
} from '../dtype.ts';
import type { StorageDTypes } from '../flash/layout.ts';
import { ffnSources } from '../models/ffn-sources.ts';
import { activations, isRouter, type ModelRecipe, type WeightDTypes } from '../models/spec.ts';
import { apartByFormat, canBeTiled, keptFormats } from './kept-formats.ts';
import type { CheckedSource, Sources } from './weights.ts';

/** Number of weights in matrices, by the format they are stored in: `f16`, `Q4_K`. */
export type SourceFormats = Readonly<Record<string, number>>;

/** How a model's tensors are to be stored: kept, or as f32 can be converted to. */
export interface TargetDTypes extends StorageDTypes {
  readonly resident: EncodedDType;
  readonly bundles: EncodedDType;
}

export interface AskedDTypes {
  /** `auto`, the default, keeps the checkpoint's. */
  readonly dtype?: EncodedDType | 'auto';
  /** Dtype of the FFN, if it shall differ. */
  readonly ffnDtype?: EncodedDType;
  /** Neurons of the tiles that FFNs are cut into; absent: single neurons. */
  readonly tile?: number;
}

/**
 * What is stored of a quantised checkpoint where its blocks cannot be kept. Quantising a second time adds an
 * error: in 8 bits one too small to see beside the first, in 4 bits a part of the first.
 */
const forQuantised: EncodedDType = 'q8';

/** What a checkpoint is stored in. */
interface Storage {
  readonly storage: TargetDTypes;
  /** The one given, whose tensors have one format each. */
  readonly recipe: ModelRecipe;
  readonly formats: SourceFormats;
  /** What is stored otherwise than one might expect, a sentence each. */
  readonly notes: readonly string[];
}

/** Decides the dtypes, and counts what the checkpoint's matrices are stored in. */
export function storageOf(
  { dtype = 'auto', ffnDtype, tile }: AskedDTypes,
  recipe: ModelRecipe,
  sources: Sources,
): Storage {
  const matrices = matricesOf(recipe, sources);
  const formats: Record<string, number> = {};
  for (const { tensor } of matrices) {
    const format = formatOf(tensor);
    formats[format] = (formats[format] ?? 0) + tensor.shape.reduce((all, size) => all * size, 1);
  }
  const quantised = matrices.some(({ tensor }) => tensor.storedAs !== undefined);
  const exact = commonDType(matrices);
  const resident = dtype !== 'auto' ? dtype : quantised ? forQuantised : exact;
  // What is not worth quantising again is stored in 16 bits, where the file had fewer.
  const storage = {
    resident,
    bundles: ffnDtype ?? resident,
    exact: quantised ? ('bf16' as const) : exact,
    ...(tile !== undefined && { tile }),
  };
  if (dtype !== 'auto' || !quantised) return { storage, recipe, formats, notes: [] };
  const { activation } = recipe.spec.ffn;
  // Predictors choose single neurons, whose down columns are rows of their own.
  const sparse = activations[activation].zeros && tile === undefined;
  const tiled = tile !== undefined || canBeTiled(recipe, sources, storage.bundles);
  const experts = ffnDtype === undefined;
  const ffns = experts && !sparse && tiled;
  const kept = keptFormats(recipe, sources, { ffns, experts });
  const why = sparse
    ? `with ${activation}, single neurons are chosen`
    : 'they cannot be cut into tiles';
  const note = `FFNs are stored as ${storage.bundles} and not in their blocks, as ${why}`;
  return {
    storage: { ...storage, kept },
    recipe: apartByFormat(recipe, (source) => kept.get(source) ?? resident),
    formats,
    notes: ffns || ffnDtype !== undefined || recipe.bundles.length === 0 ? [] : [note],
  };
}

/** What a tensor's values are stored in. */
export function formatOf({ storedAs, keptAs, dtype }: SourceTensor): string {
  return storedAs ?? keptAs ?? dtype;
}

/** The checkpoint's matrices that the recipe uses. */
function matricesOf(recipe: ModelRecipe, sources: Sources): readonly CheckedSource[] {
  const names = new Set<string>();
  for (const { source } of ffnSources(recipe)) names.add(source);
  for (const { name, parts, shape } of recipe.tensors) {
    // Files that have all else in 16 bits may have routers in f32, as they are stored.
    if (shape.length === 1 || isRouter(name)) continue;
    for (const { source } of parts) names.add(source);
  }
  return [...names].map((name) => sources(name));
}

/** The dtype that keeps every matrix exact: the checkpoint's own, or f32 when it mixes several. */
function commonDType(matrices: readonly CheckedSource[]): FloatDType {
  const kept = ({ tensor, dtype }: CheckedSource) =>
    floatDTypes.find((known) => known === tensor.keptAs) ?? dtype;
  const [only, ...more] = new Set(matrices.map(kept));
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
  return !dtypeNames.some((name) => name === format);
}

/** `q8`, `f16, FFN q4`, or `several formats`. */
export function describeDTypes({ resident, bundles }: WeightDTypes): string {
  const [matrices, ffns] = [resident, bundles].map((dtype) =>
    dtype === 'mixed' ? 'several formats' : dtype,
  );
  return resident === bundles ? `${ffns}` : `${matrices}, FFN ${ffns}`;
}

/** One line about what became of a quantised checkpoint's formats. */
export function describeKept(formats: SourceFormats, dtypes: WeightDTypes): string {
  const [resident, bundles] = [isKept(dtypes.resident), isKept(dtypes.bundles)];
  const found = describeFormats(formats);
  if (!resident && !bundles)
    return `dequantised from ${found}, stored as ${describeDTypes(dtypes)}`;
  if (resident && bundles) return `stored as they are: ${found}`;
  const [other, dtype] = resident
    ? ['the FFN', dtypes.bundles]
    : ['all but the FFN', dtypes.resident];
  return `stored as they are, but ${other} as ${dtype}: ${found}`;
}

/** Whether weights are in formats that only files have; of several, some are. */
function isKept(dtype: WeightDTypes['resident']): boolean {
  return dtype === 'mixed' || !isEncodedDType(dtype);
}
