/**
 * FFNs as units. A unit is the smallest piece of an FFN that is chosen and read as one: k neurons,
 * their gate and up rows, and what they contribute to the output.
 *
 *   neuron   k = 1    | gate row | up row | down column |                 what predictors choose
 *   tile     k > 1    | k gate rows | k up rows | hidden rows of k |      a dense FFN cut across
 *   expert   k > 1    the same                                            what a router chooses
 *
 * A neuron's down projection is its column, laid beside its rows. That of the others is as checkpoints
 * have it, untransposed: of each row of the matrix the k values that belong to the unit, so that block
 * formats whose blocks run along the neurons stay as they are. Units are padded to a multiple of 512
 * bytes, experts to one of 4096, so that one can be read straight into a slot with direct I/O.
 */

import { byteLength, type DType } from '../dtype.ts';
import { expertsOf, type ModelSpec, needsAllActivations } from '../models/spec.ts';
import { alignUp } from '../units.ts';

export const unitKinds = ['neuron', 'tile', 'expert'] as const;
type UnitKind = (typeof unitKinds)[number];

/** Which FFN of a layer: the only one, that of all tokens beside experts, or the experts. */
export const ffnNames = ['ffn', 'shared', 'experts'] as const;
type FfnName = (typeof ffnNames)[number];

export const partNames = ['gate', 'up', 'down'] as const;
export type PartName = (typeof partNames)[number];

/** How a unit's share of the down projection lies: k columns of hidden values, or hidden rows of k. */
export const orientations = ['column', 'rows'] as const;

/** A matrix in every unit. */
export interface UnitPart {
  readonly part: PartName;
  readonly dtype: DType;
  /** From the unit's first byte. */
  readonly offset: number;
  /** As its values lie: (k, hidden) of rows and of columns, (hidden, k) of an untransposed down. */
  readonly shape: readonly [rows: number, columns: number];
  /** Of `down` only. */
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
  /** From one unit to the next. */
  readonly unitBytes: number;
  readonly parts: readonly UnitPart[];
}

/** Padding of a unit: the smallest piece of direct I/O; an expert's is what every device takes. */
const unitAlignment = { neuron: 512, tile: 512, expert: 4096 } as const;

/** What the parts of a unit follow from. */
interface UnitGeometry {
  readonly kind: UnitKind;
  readonly k: number;
  readonly hiddenSize: number;
  readonly gated: boolean;
  /** Of each part. */
  readonly dtypeOf: (part: PartName) => DType;
}

/** A tile's bytes at most, where there are such tiles: a large read, and few calls for each layer. */
const largestTileBytes = 2 * 2 ** 20;
/** Tiles of fewer neurons are not worth their calls. */
const smallestTile = 32;

/**
 * Neurons of the tiles that an FFN is cut into where its down projection lies in blocks of `blockElements`:
 * as many whole blocks as divide all neurons and are no more than 2 MiB, else the fewest that divide them;
 * null where none do.
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

/** Where the parts of a unit lie, and its bytes. */
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

/** Bytes of a unit's parts, behind which it is padded. */
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

/** Where the parts of neurons lie: the gate row is at the beginning, if there is one. */
export interface NeuronGeometry {
  /** From one neuron to the next. */
  readonly bundleBytes: number;
  readonly upOffset: number;
  readonly downOffset: number;
}

/** The geometry of an FFN's neurons; null where its units are others. */
export function neuronGeometry(
  ffn: Pick<FfnUnits, 'kind' | 'parts' | 'unitBytes'>,
): NeuronGeometry | null {
  const [up, down] = [partOf(ffn, 'up'), partOf(ffn, 'down')];
  if (ffn.kind !== 'neuron' || up === undefined || down === undefined) return null;
  return { bundleBytes: ffn.unitBytes, upOffset: up.offset, downOffset: down.offset };
}

/** Neurons of the largest unit that is computed as a whole; 0 where all are single neurons. */
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

/** An FFN that a layer must have: its neurons in all, and, of experts, how many each has. */
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
