/**
 * FFNs as units. A unit is the smallest piece of an FFN that is chosen and read as one: k neurons, their gate
 * and up rows, and their part of the down projection.
 *
 *   neuron   k = 1    | gate row | up row | down column |                 what predictors choose
 *   tile     k > 1    | k gate rows | k up rows | hidden rows of k |      a dense FFN cut across
 *   expert   k > 1    the same                                            what a router chooses
 *
 * A neuron's down projection is its column, laid beside its rows. Other units have it untransposed, as in
 * checkpoints: from each row of the matrix the k values that belong to the unit, so that block formats whose
 * blocks run along the neurons stay unchanged. Units are padded to a multiple of 512 bytes, experts to one of
 * 4096, so that direct I/O can read a unit directly into a slot.
 */

import { byteLength, type DType } from '../dtype.ts';
import { expertsOf, type ModelSpec, needsAllActivations } from '../models/spec.ts';
import { alignUp } from '../units.ts';

export const unitKinds = ['neuron', 'tile', 'expert'] as const;
type UnitKind = (typeof unitKinds)[number];

/** Which FFN of a layer: the only one, the shared one beside experts, or the experts. */
export const ffnNames = ['ffn', 'shared', 'experts'] as const;
type FfnName = (typeof ffnNames)[number];

export const partNames = ['gate', 'up', 'down'] as const;
export type PartName = (typeof partNames)[number];

/**
 * The layout of a unit's share of the down projection: k columns of hidden values, or hidden rows of k
 * values.
 */
export const orientations = ['column', 'rows'] as const;

/** A matrix in every unit. */
export interface UnitPart {
  readonly part: PartName;
  readonly dtype: DType;
  /** Offset from the unit's first byte. */
  readonly offset: number;
  /** Shape as stored: (k, hidden) for rows and columns, (hidden, k) for an untransposed down projection. */
  readonly shape: readonly [rows: number, columns: number];
  /** Only for `down`. */
  readonly orientation?: (typeof orientations)[number];
}

/** One FFN of a layer. */
export interface FfnUnits {
  readonly name: FfnName;
  /** Of shape (count, unit bytes). */
  readonly tensor: string;
  readonly kind: UnitKind;
  /** Neurons of a unit. */
  readonly k: number;
  /** Units. */
  readonly count: number;
  /** Bytes from one unit to the next. */
  readonly unitBytes: number;
  readonly parts: readonly UnitPart[];
}

/** Alignment of a unit: the smallest piece of direct I/O; an expert's alignment suits every device. */
const unitAlignment = { neuron: 512, tile: 512, expert: 4096 } as const;

/** The sizes and formats that determine the parts of a unit. */
interface UnitGeometry {
  readonly kind: UnitKind;
  readonly k: number;
  readonly hiddenSize: number;
  readonly gated: boolean;
  /** Format of each part. */
  readonly dtypeOf: (part: PartName) => DType;
}

/** The most bytes of a tile, where such tiles exist: a large read, and few calls for each layer. */
const largestTileBytes = 2 * 2 ** 20;
/** With fewer neurons, a tile's calls cost too much. */
const smallestTile = 32;

/**
 * The number of neurons of each tile, where the down projection is stored in blocks of `blockElements`: the
 * largest number of whole blocks that divides all neurons and takes at most 2 MiB, else the smallest that
 * divides them; null where none does.
 * @param bytes of all neurons
 */
export function tileNeurons(neurons: number, blockElements: number, bytes: number): number | null {
  let found: number | null = null;
  for (let k = blockElements; k <= neurons; k += blockElements) {
    if (neurons % k !== 0 || k < smallestTile) continue;
    if (found !== null && (k / neurons) * bytes > largestTileBytes) break;
    found = k;
  }
  return found;
}

/** The places of a unit's parts, and its bytes. */
export function layoutUnit({ kind, k, hiddenSize, gated, dtypeOf }: UnitGeometry): {
  readonly unitBytes: number;
  readonly parts: readonly UnitPart[];
} {
  let offset = 0;
  const parts = (gated ? partNames : partNames.slice(1)).map((part): UnitPart => {
    const transposed = part !== 'down' || kind === 'neuron';
    const shape = transposed ? ([k, hiddenSize] as const) : ([hiddenSize, k] as const);
    const dtype = dtypeOf(part);
    const placed = { part, dtype, offset, shape };
    offset += shape[0] * byteLength(dtype, shape[1]);
    return part === 'down' ? { ...placed, orientation: transposed ? 'column' : 'rows' } : placed;
  });
  return { unitBytes: alignUp(offset, unitAlignment[kind]), parts };
}

/** Bytes of a unit's parts, without the padding after them. */
export function usedBytes({ parts }: Pick<FfnUnits, 'parts'>): number {
  const ends = parts.map(({ dtype, offset, shape: [rows, columns] }) => {
    return offset + rows * byteLength(dtype, columns);
  });
  return Math.max(0, ...ends);
}

/** The part of that name; undefined for the gate of an FFN without one. */
export function partOf({ parts }: Pick<FfnUnits, 'parts'>, name: PartName): UnitPart | undefined {
  return parts.find(({ part }) => part === name);
}

/** The places of a neuron's parts: the gate row is at the beginning, if there is one. */
export interface NeuronGeometry {
  /** Bytes from one neuron to the next. */
  readonly bundleBytes: number;
  readonly upOffset: number;
  readonly downOffset: number;
}

/** The geometry of an FFN's neurons; null where its units are not single neurons. */
export function neuronGeometry(
  ffn: Pick<FfnUnits, 'kind' | 'parts' | 'unitBytes'>,
): NeuronGeometry | null {
  const [up, down] = [partOf(ffn, 'up'), partOf(ffn, 'down')];
  if (ffn.kind !== 'neuron' || up === undefined || down === undefined) return null;
  return { bundleBytes: ffn.unitBytes, upOffset: up.offset, downOffset: down.offset };
}

/** Neurons of the largest unit computed as a whole; 0 where all units are single neurons. */
export function widestUnit(ffns: readonly (readonly FfnUnits[])[]): number {
  return Math.max(0, ...ffns.flat().map(({ kind, k }) => (kind === 'neuron' ? 0 : k)));
}

/** Name of the tensor that holds an FFN's units. */
export function unitTensor(layer: number, name: FfnName, kind: UnitKind): string {
  const what = {
    ffn: kind === 'neuron' ? 'bundles' : 'tiles',
    shared: 'shared',
    experts: 'experts',
  };
  return `layers.${layer}.ffn.${what[name]}`;
}

/** An FFN that a layer must have: its total number of neurons and, for experts, the number that each has. */
export interface SpecFfn {
  readonly name: FfnName;
  readonly neurons: number;
  /** Null where the neurons may be cut into units of any one size. */
  readonly k: number | null;
  readonly kinds: readonly UnitKind[];
}

/** The FFNs of a layer, as the architecture implies them. */
export function ffnsOf(
  spec: Pick<ModelSpec, 'ffn' | 'inputBits'>,
  layer: number,
): readonly SpecFfn[] {
  const experts = expertsOf(spec, layer);
  const kinds: readonly UnitKind[] = needsAllActivations(spec) ? ['neuron'] : ['neuron', 'tile'];
  const dense = { k: null, kinds };
  if (experts === null) return [{ name: 'ffn', neurons: spec.ffn.neurons, ...dense }];
  const { count, neurons, shared } = experts;
  return [
    ...(shared === 0 ? [] : [{ name: 'shared' as const, neurons: shared, ...dense }]),
    { name: 'experts', neurons: count * neurons, k: neurons, kinds: ['expert'] },
  ];
}
