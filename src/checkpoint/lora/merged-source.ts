/**
 * A checkpoint with adapters merged into it, one after the other, as PEFT merges them: the same tensors,
 * some of them replaced and some updated while they are read.
 */

import { InputError } from '../../errors.ts';
import { ffnSources } from '../../models/ffn-sources.ts';
import { type ModelRecipe, tensorNames } from '../../models/spec.ts';
import { some } from '../../plain-text.ts';
import type { SourceTensor, TensorSource } from '../source.ts';
import type { Adapter, LowRank, WholeTensor } from './adapter.ts';
import { adapterConfigFile } from './adapter-config.ts';
import { floatDTypeOf, Merger, type Update, type Updated } from './merger.ts';
import { headModule, innerName, moduleOf } from './names.ts';
import { type Candidate, checkSelection, otherBase, scalesOf } from './selection.ts';

/** A tied head may not be in the checkpoint. */
export const headTensor = `${headModule}.weight`;

/** What an adapter did. */
export interface AdapterReport {
  readonly dir: string;
  /** The model that it was trained on, by the name it had in training. */
  readonly base: string | null;
  /** Number of low-rank updates, with the smallest and the largest rank; null without any. */
  readonly updates: number;
  readonly ranks: readonly [least: number, largest: number] | null;
  /** Tensors that it replaces as a whole. */
  readonly replaced: number;
  /** Names in target_modules that the model does not have. */
  readonly passedOver: readonly string[];
}

export interface MergedSource extends TensorSource {
  /** Whether head and embedding were tied and no longer are. */
  readonly untied: boolean;
  /** Bytes of memory that merging takes. */
  readonly workBytes: number;
  readonly adapters: readonly AdapterReport[];
}

/**
 * Merges `adapters` into `source`, in their order. The result reads from all of them; closing it closes
 * `source` alone.
 * @param recipe recipe of the unchanged checkpoint: says whether its head is the embedding, and which
 * tensor holds that
 * @throws InputError when an adapter does not fit the checkpoint
 */
export function mergeAdapters(
  source: TensorSource,
  recipe: ModelRecipe,
  adapters: readonly Adapter[],
): MergedSource {
  const merging = new Merging(source, recipe);
  const reports = adapters.map((adapter) => merging.add(adapter));
  const { tensors, workBytes } = merging.result();
  return { ...source, tensors, untied: merging.untied, workBytes, adapters: reports };
}

/** The replacement of a tensor. */
interface Change {
  readonly tensor: SourceTensor;
  readonly updates: readonly Update[];
}

class Merging {
  readonly #source: TensorSource;
  /** Names of tensors by their names within the decoder. */
  readonly #names: ReadonlyMap<string, string>;
  readonly #candidates: readonly Candidate[];
  readonly #embedding: string;
  readonly #wasTied: boolean;
  readonly #changes = new Map<string, Change>();
  untied = false;

  constructor(source: TensorSource, recipe: ModelRecipe) {
    this.#source = source;
    this.#names = new Map([...source.tensors.keys()].map((name) => [innerName(name), name]));
    this.#wasTied = recipe.spec.tiedHead;
    const sources = (wanted: (name: string) => boolean) =>
      recipe.tensors.filter(({ name }) => wanted(name)).flatMap(({ parts }) => parts);
    this.#embedding = sources((name) => name === tensorNames.tokens)[0]?.source ?? '';
    const tables = sources((name) => name === tensorNames.tokens || name === tensorNames.positions);
    const outer = new Set([...tables.map((part) => part.source), headTensor]);
    const used = new Set(
      [...sources(() => true), ...ffnSources(recipe)]
        .filter(({ shape }) => shape.length === 2)
        .map(({ source: name }) => recipe.views.get(name)?.source ?? name),
    );
    this.#candidates = [...used]
      .filter((name) => source.tensors.has(name))
      .map((name) => ({ name: moduleOf(name), inner: !outer.has(name) }));
  }

  /** @throws InputError when `adapter` does not fit */
  add(adapter: Adapter): AdapterReport {
    const { config, dir } = adapter;
    this.#checkNames(adapter);
    // PEFT loads the head after the embedding: where they are one tensor, the head's value stays.
    const isHead = ({ name }: WholeTensor) => innerName(name) === headTensor;
    for (const whole of adapter.whole.filter((tensor) => !isHead(tensor))) {
      this.#replace(adapter, whole);
    }
    for (const whole of adapter.whole.filter(isHead)) this.#replace(adapter, whole);
    const scales = scalesOf(
      config,
      adapter.lowRank.map(({ module }) => module),
    );
    const ranks = scales.map(({ rank }) => rank);
    for (const [index, update] of adapter.lowRank.entries()) {
      const { rank = 0, scale = 0 } = scales[index] ?? {};
      this.#update(adapter, update, rank, scale);
    }
    const passedOver = checkSelection(adapter, this.#candidates);
    return {
      dir,
      base: config.base,
      updates: ranks.length,
      ranks:
        ranks.length === 0
          ? null
          : [ranks.reduce((a, b) => Math.min(a, b)), ranks.reduce((a, b) => Math.max(a, b))],
      replaced: adapter.whole.length,
      passedOver,
    };
  }

  result(): { readonly tensors: ReadonlyMap<string, SourceTensor>; readonly workBytes: number } {
    const updated = new Map<string, Updated>();
    const tensors = new Map(this.#source.tensors);
    for (const [name, { tensor, updates }] of this.#changes) {
      if (updates.length === 0) tensors.set(name, tensor);
      else updated.set(name, { base: tensor, dtype: floatDTypeOf(tensor), updates });
    }
    const merger = new Merger(updated.values());
    for (const [name, matrix] of updated) tensors.set(name, merger.tensor(matrix));
    // If a copy of the embedding still serves as the head, it changes too.
    const table = tensors.get(this.#embedding);
    if (this.#wasTied && !this.untied && tensors.has(headTensor) && table !== undefined) {
      tensors.set(headTensor, table);
    }
    return { tensors, workBytes: updated.size === 0 ? 0 : merger.bytes };
  }

  /** The checkpoint's name for a tensor that an adapter names. */
  #resolve(name: string): string | undefined {
    const inner = innerName(name);
    if (inner === headTensor && this.#wasTied) return this.untied ? headTensor : this.#embedding;
    return this.#source.tensors.has(name) ? name : this.#names.get(inner);
  }

  #current(name: string): Change {
    const change = this.#changes.get(name);
    if (change !== undefined) return change;
    const tensor = this.#source.tensors.get(name);
    if (tensor === undefined) throw new Error(`${name} is not in the checkpoint`);
    return { tensor, updates: [] };
  }

  /** Refuses an adapter with tensors that have no counterpart in the checkpoint. */
  #checkNames(adapter: Adapter): void {
    const names = [
      ...adapter.whole.map(({ name }) => name),
      ...adapter.lowRank.map(({ module }) => `${module}.weight`),
      ...adapter.lowRank.flatMap(({ module, bias }) => (bias === null ? [] : [`${module}.bias`])),
    ];
    const unknown = names.filter((name) => this.#resolve(name) === undefined);
    if (unknown.length === 0) return;
    throw new InputError(
      `the adapter changes tensors that the checkpoint does not have: ${some(unknown)}`,
      { file: adapter.dir },
      otherBase(adapter),
    );
  }

  #replace(adapter: Adapter, { name, tensor }: WholeTensor): void {
    if (this.#wasTied && !this.untied && this.#unties(adapter, name)) {
      this.#changes.set(headTensor, this.#current(this.#embedding));
      this.untied = true;
    }
    const target = this.#resolve(name) ?? name;
    const { tensor: replaced } = this.#current(target);
    if (String(tensor.shape) !== String(replaced.shape)) {
      throw new InputError(
        `its shape is [${tensor.shape.join(', ')}], but the checkpoint's ${target} is [${replaced.shape.join(', ')}]`,
        { file: tensor.file, tensor: tensor.name },
        otherBase(adapter),
      );
    }
    floatDTypeOf(tensor);
    const { storedAs } = replaced;
    this.#changes.set(target, {
      tensor: {
        ...tensor,
        keptAs: replaced.keptAs ?? replaced.dtype,
        ...(storedAs === undefined ? {} : { storedAs }),
      },
      updates: [],
    });
  }

  /** Whether `name` is one of two tied tensors and was trained separately from the other. */
  #unties({ config }: Adapter, name: string): boolean {
    const inner = innerName(name);
    if (inner !== headTensor && inner !== innerName(this.#embedding)) return false;
    if (config.staysTied) return false;
    for (let module = moduleOf(name); module !== ''; module = moduleOf(module)) {
      // As PEFT finds them: by the end of the name, wherever it begins.
      if (config.saved.some((end) => module.endsWith(end))) return true;
    }
    return false;
  }

  #update(adapter: Adapter, update: LowRank, rank: number, scale: number): void {
    const { module, a, b, embedding, bias } = update;
    const target = this.#resolve(`${module}.weight`) ?? '';
    const change = this.#current(target);
    const [aRank, inputs = 0] = a.shape;
    const [outputs = 0, bRank] = b.shape;
    const areMatrices = a.shape.length === 2 && b.shape.length === 2;
    if (!areMatrices || aRank !== rank || bRank !== rank) {
      throw new InputError(
        `lora_A of [${a.shape.join(', ')}] and lora_B of [${b.shape.join(', ')}] do not have rank ${rank}, which ${adapterConfigFile} gives for ${module}`,
        { file: a.file, tensor: a.name },
        `${adapterConfigFile} and the weights contradict each other`,
      );
    }
    const shape = embedding ? [inputs, outputs] : [outputs, inputs];
    if (String(shape) !== String(change.tensor.shape)) {
      throw new InputError(
        `the adapter changes a matrix of [${shape.join(', ')}], but the checkpoint's ${target} is [${change.tensor.shape.join(', ')}]`,
        { file: a.file, tensor: a.name },
        otherBase(adapter),
      );
    }
    const [left, right] = embedding ? [a, b] : [b, a];
    this.#add(target, { rank, scale, left, right, embedding });
    if (bias !== null) {
      const biasTarget = this.#resolve(`${module}.bias`) ?? '';
      const { shape: has } = this.#current(biasTarget).tensor;
      if (String(bias.shape) !== String(has)) {
        throw new InputError(
          `its shape is [${bias.shape.join(', ')}], but the checkpoint's ${biasTarget} is [${has.join(', ')}]`,
          { file: bias.file, tensor: bias.name },
          otherBase(adapter),
        );
      }
      this.#add(biasTarget, { rank: 1, scale, left: null, right: bias, embedding: false });
    }
  }

  #add(target: string, update: Update): void {
    const { tensor, updates } = this.#current(target);
    for (const factor of [update.left, update.right, tensor]) {
      if (factor !== null) floatDTypeOf(factor);
    }
    this.#changes.set(target, { tensor, updates: [...updates, update] });
  }
}
