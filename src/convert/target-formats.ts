/**
 * The formats of matrices when the user requests a block format of GGUF files or one of llama.cpp's mixes.
 * In a mix, the matrices that lose most with few bits get more bits; the choices are those of llama.cpp,
 * taken from its documentation and from files that it made.
 */

import {
  type DType,
  type EncodedDType,
  encodedDTypes,
  formats,
  isNeuronDType,
  type NeuronDType,
  wholeBlocks,
} from '../dtype.ts';
import { quantisable } from '../flash/layout.ts';
import { bundleRows, type ModelRecipe, type TensorRecipe, tensorNames } from '../models/spec.ts';
import { fusedLayers } from '../models/spec-tensors.ts';
import type { Sources } from './weights.ts';

/** Whether matrix `index` of `count`, in the order of layers, gets more bits. */
type HasMore = (index: number, count: number) => boolean;

const never: HasMore = () => false;
/** The first eighth of the layers, the last eighth, and every third layer between. */
const someLayers: HasMore = (index, count) => {
  const eighth = Math.floor(count / 8);
  return index < eighth || index >= Math.floor((7 * count) / 8) || (index - eighth) % 3 === 2;
};

interface Mix {
  readonly base: EncodedDType;
  /** Format of the head, which may be the embedding. */
  readonly head: EncodedDType;
  /** Format of value and down projections, where they get more bits. */
  readonly more: EncodedDType;
  readonly value: HasMore;
  readonly down: HasMore;
  /** Format of query, key and value projections that a checkpoint has in one matrix. */
  readonly fused: EncodedDType;
}

/** A mix with the same format for all matrices. */
const pure = (format: EncodedDType): Mix => {
  return { base: format, head: format, more: format, value: never, down: never, fused: format };
};

const mixes = {
  q4_k_s: {
    ...pure('q4_k'),
    head: 'q6_k',
    more: 'q5_k',
    value: (index) => index < 4,
    down: (index, count) => index < Math.floor(count / 8),
  },
  q4_k_m: {
    ...pure('q4_k'),
    head: 'q6_k',
    more: 'q6_k',
    value: someLayers,
    down: someLayers,
    fused: 'q5_k',
  },
  q5_k_s: { ...pure('q5_k'), head: 'q6_k' },
  q5_k_m: {
    ...pure('q5_k'),
    head: 'q6_k',
    more: 'q6_k',
    value: someLayers,
    down: someLayers,
    fused: 'q6_k',
  },
} as const satisfies Readonly<Record<string, Mix>>;

/**
 * Targets of conversion for any weights: a format, or a mix of several. Ternary is only kept, never chosen.
 */
export type TargetFormat = Exclude<EncodedDType, 'ternary'> | keyof typeof mixes;
export const targetFormats: readonly TargetFormat[] = [
  ...encodedDTypes.filter((dtype) => dtype !== 'ternary'),
  ...(Object.keys(mixes) as (keyof typeof mixes)[]),
];

/** Block formats of GGUF files, or mixes of them. */
export type BlockTarget = Exclude<TargetFormat, NeuronDType>;

export function isBlockTarget(target: TargetFormat): target is BlockTarget {
  return target in mixes || !isNeuronDType(target as EncodedDType);
}

function mixOf(target: BlockTarget): Mix {
  return target in mixes ? mixes[target as keyof typeof mixes] : pure(target as EncodedDType);
}

/** The format of most matrices. */
export function baseOf(target: TargetFormat): EncodedDType {
  return isBlockTarget(target) ? mixOf(target).base : target;
}

/** The format that replaces a target if single neurons are chosen: it has at least as many bits. */
export function neuronFormat(target: TargetFormat): NeuronDType {
  const base = baseOf(target);
  if (isNeuronDType(base)) return base;
  return bitsOf(base) <= bitsOf('q4') ? 'q4' : 'q8';
}

const bitsOf = (format: DType) => (8 * formats[format].blockBytes) / formats[format].blockElements;

/** Replacements if rows are not whole blocks of 256: formats with blocks of 32 and more bits. */
const withShortBlocks: Readonly<Partial<Record<EncodedDType, EncodedDType>>> = {
  q4_k: 'q5_0',
  q5_k: 'q5_1',
  q6_k: 'q8_0',
};

/** Formats by the names of checkpoint tensors, and the replacements that were necessary. */
export class ChosenFormats {
  readonly formats = new Map<string, EncodedDType>();
  readonly #sources: Sources;
  /** By the wanted format: its replacement, and the lengths of the rows. */
  readonly #others = new Map<
    EncodedDType,
    { readonly format: EncodedDType; columns: Set<number> }
  >();

  constructor(sources: Sources) {
    this.#sources = sources;
  }

  /** A sentence about formats that differ from the target, or none. */
  get notes(): readonly string[] {
    if (this.#others.size === 0) return [];
    const columns = [...new Set([...this.#others.values()].flatMap((other) => [...other.columns]))];
    const what = [...this.#others].map(([wanted, { format }]) => `${wanted} became ${format}`);
    return [
      `rows of ${columns.join(' and ')} weights are not whole blocks: in such matrices, ${what.join(', ')}`,
    ];
  }

  /** Chooses formats for all matrices except those of FFNs. */
  addResident(recipe: ModelRecipe, target: BlockTarget): void {
    const mix = mixOf(target);
    const { spec } = recipe;
    const matrices = quantisable(recipe);
    const tokens = matrices.find(({ name }) => name === tensorNames.tokens);
    const head = matrices.find(({ name }) => name === tensorNames.head) ?? tokens;
    const layerOf = fusedLayers(spec);
    for (const matrix of matrices) {
      const layer = layerOf.get(matrix.name);
      if (layer !== undefined) this.#addProjections(matrix, layer, spec, mix);
      else {
        const format = matrix === head ? mix.head : mix.base;
        for (const { source } of matrix.parts) this.#add(source, format);
      }
    }
  }

  /** Chooses formats for the matrices of FFNs for all tokens. */
  addFfns({ bundles, spec }: ModelRecipe, target: BlockTarget): void {
    const mix = mixOf(target);
    for (const bundle of bundles) {
      for (const rows of bundleRows(bundle)) this.#add(rows, mix.base);
      this.#add(bundle.down, mix.down(bundle.layer, spec.layers) ? mix.more : mix.base);
    }
  }

  /** Chooses formats for the matrices of experts. */
  addExperts({ experts, spec }: ModelRecipe, target: BlockTarget): void {
    const mix = mixOf(target);
    for (const layer of experts) {
      const down = mix.down(layer.layer, spec.layers) ? mix.more : mix.base;
      for (const expert of layer.experts) {
        for (const part of [expert.gate, expert.up]) {
          if (part !== undefined) this.#add(part.source, mix.base);
        }
        this.#add(expert.down.source, down);
      }
    }
  }

  /** Queries, keys and values of a layer, stacked. */
  #addProjections(
    { parts }: TensorRecipe,
    layer: number,
    { layers, attention: { heads, kvHeads, headDim } }: ModelRecipe['spec'],
    mix: Mix,
  ): void {
    const values = (heads + kvHeads) * headDim;
    const value = mix.value(layer, layers) ? mix.more : mix.base;
    const rolesOf = new Map<string, Set<'value' | 'other'>>();
    let row = 0;
    for (const { source, rows, shape } of parts) {
      const roles = rolesOf.get(source) ?? new Set();
      rolesOf.set(source, roles.add(row >= values ? 'value' : 'other'));
      const next = row + (rows?.count ?? shape[0] ?? 0);
      if (row < values && next > values) roles.add('value');
      row = next;
    }
    for (const [source, roles] of rolesOf) {
      this.#add(source, roles.size > 1 ? mix.fused : roles.has('value') ? value : mix.base);
    }
  }

  #add(source: string, wanted: EncodedDType): void {
    const columns = this.#sources(source).tensor.shape.at(-1) ?? 1;
    const format = fitting(wanted, columns);
    this.formats.set(source, format);
    if (format === wanted) return;
    const other = this.#others.get(wanted) ?? { format, columns: new Set() };
    this.#others.set(wanted, { ...other, columns: other.columns.add(columns) });
  }
}

/** The format of most matrices with this number of columns. */
export function formatOfRows(target: BlockTarget, columns: number): EncodedDType {
  return fitting(mixOf(target).base, columns);
}

/** The wanted format, or the next one in which rows are whole blocks; q8 pads its last block. */
function fitting(wanted: EncodedDType, columns: number): EncodedDType {
  if (wholeBlocks(wanted, columns)) return wanted;
  const other = withShortBlocks[wanted];
  return other !== undefined && wholeBlocks(other, columns) ? other : 'q8';
}
