/** Builds a model's recipe, tensor by tensor, in the order in which a token uses them. */

import { InputError } from '../errors.ts';
import { type ExpertNames, everyOther, expertsRecipe } from './expert-recipe.ts';
import type { RowOrder } from './row-order.ts';
import {
  type BundleRecipe,
  type CheckpointFacts,
  type ExpertsRecipe,
  type ModelRecipe,
  type ModelSpec,
  type SourceRows,
  type SourceView,
  type TensorPart,
  type TensorRecipe,
  tensorNames,
} from './spec.ts';
import { attendedWidth, mostExperts } from './spec-tensors.ts';

/** A projection in the checkpoint: `<source>.weight`, and `<source>.bias` if it has one. */
export interface Linear {
  readonly source: string;
  readonly bias: boolean;
  /** Whether its weight is stored as (inputs, outputs). */
  readonly transposed?: boolean;
  /** The rows of this projection in a weight of `all` rows, and their order. */
  readonly part?: { readonly name: string; readonly all: number; readonly order: RowOrder };
}

/** A norm in the checkpoint: `<source>.weight`, and `<source>.bias` where norms have one. */
export interface NormSource {
  readonly source: string;
  readonly bias: boolean;
  /** A value that is added to its weight; for norms whose weights are stored around 0. */
  readonly plus?: number;
  /** Number of elements, or their shape in the checkpoint; the hidden size by default. */
  readonly width?: number | readonly number[];
}

export interface FfnSources {
  /** Only in gated FFNs. */
  readonly gate?: Linear;
  readonly up: Linear;
  readonly down: Linear;
}

/**
 * The most KV heads in all layers: each is some rows of a fused projection. The largest known models have
 * 10,000.
 */
const mostKvHeads = 2 ** 16;

export class RecipeBuilder {
  readonly #spec: ModelSpec;
  readonly #names: ReadonlySet<string>;
  readonly #tensors: TensorRecipe[] = [];
  readonly #bundles: BundleRecipe[] = [];
  readonly #experts: ExpertsRecipe[] = [];
  readonly #ignored: string[] = [];
  readonly #views = new Map<string, SourceView>();
  #twoHeads: ModelRecipe['twoHeads'];

  /** @throws InputError when there are more layers than the checkpoint can contain */
  constructor(spec: ModelSpec, { sourceNames, tensorCount, configFile }: CheckpointFacts) {
    this.#spec = spec;
    this.#names = sourceNames;
    const { layers, attention } = spec;
    const count = Math.max(sourceNames.size, tensorCount ?? 0);
    if (count > 0 && layers > count) {
      throw new InputError(
        `'num_hidden_layers' is ${layers}, but the checkpoint has only ${count} tensors`,
        { file: configFile },
      );
    }
    if (layers * attention.kvHeads > mostKvHeads) {
      throw new InputError(
        `${layers} layers of ${attention.kvHeads} KV heads are too many (at most ${mostKvHeads} KV heads in all layers)`,
        { file: configFile },
      );
    }
    this.#checkExperts(configFile);
  }

  /** @throws InputError when there are more experts than any model has */
  #checkExperts(configFile: string): void {
    const { layers, ffn } = this.#spec;
    const { count = 0 } = ffn.experts ?? {};
    if (layers * count <= mostExperts) return;
    throw new InputError(
      `${layers} layers of ${count} experts are too many (at most ${mostExperts} experts in all layers)`,
      { file: configFile },
    );
  }

  /** The one of `prefixes` with which the checkpoint's names begin; the first if none does. */
  prefix(prefixes: readonly string[], embedding: string, firstLayer: string): string {
    const names = [...this.#names];
    const withLayer = (prefix: string) =>
      names.some((name) => name.startsWith(prefix + firstLayer));
    return (
      prefixes.find((prefix) => this.#names.has(prefix + embedding)) ??
      prefixes.find(withLayer) ??
      prefixes[0] ??
      ''
    );
  }

  /** The one of `sources` whose weight the checkpoint has; the first if it has none. */
  oneOf(sources: readonly string[]): string {
    return sources.find((source) => this.#names.has(`${source}.weight`)) ?? sources[0] ?? '';
  }

  /**
   * The embedding, `<source>.weight`; for a tied head, the head's copy of it if the checkpoint has only
   * that. If it has both, a caller that can read them must check whether they are equal.
   */
  tokens(source: string, head: string): void {
    const { vocabSize, embeddingSize, tiedHead } = this.#spec;
    const [own, copy] = [`${source}.weight`, `${head}.weight`];
    const hasCopy = tiedHead && this.#names.has(copy);
    const hasOwn = this.#names.has(own);
    if (hasCopy && hasOwn) this.#twoHeads = { embedding: own, head: copy };
    this.add(tensorNames.tokens, [vocabSize, embeddingSize], hasCopy && !hasOwn ? copy : own);
  }

  /** Stacks `sources`, each of `shape`, along the rows. */
  add(name: string, shape: readonly number[], ...sources: readonly string[]): void {
    this.addParts(
      name,
      sources.map((source) => ({ source, shape })),
    );
  }

  /** Stacks rows of sources. */
  addParts(name: string, parts: readonly TensorPart[]): void {
    const rows = parts.reduce((sum, { rows: range, shape: [all = 0] }) => {
      return sum + (range?.count ?? all);
    }, 0);
    const rest = parts[0]?.shape.slice(1) ?? [];
    this.#tensors.push({ name, shape: [rows, ...rest], parts });
  }

  /** All values of one source, whatever their shape in the checkpoint. */
  #vector(name: string, part: TensorPart): void {
    const values = part.shape.reduce((all, size) => all * size, 1);
    this.#tensors.push({ name, shape: [values], parts: [part] });
  }

  norm(name: string, { source, bias, plus, width = this.#spec.hiddenSize }: NormSource): void {
    const shape = typeof width === 'number' ? [width] : width;
    const part = { source: `${source}.weight`, shape, ...(plus === undefined ? {} : { plus }) };
    this.#vector(`${name}.weight`, part);
    if (bias) this.add(`${name}.bias`, shape, `${source}.bias`);
  }

  /** (outputs, inputs) and its bias. */
  linear(name: string, outputs: number, inputs: number, linear: Linear): void {
    this.add(`${name}.weight`, [outputs, inputs], this.#weight(linear, outputs, inputs));
    if (linear.bias) this.add(`${name}.bias`, [outputs], `${linear.source}.bias`);
  }

  /** The name under which a projection's weight is (outputs, inputs). */
  #weight({ source, transposed, part }: Linear, outputs: number, inputs: number): string {
    const whole = `${source}.weight`;
    if (part !== undefined) {
      return this.view(whole, part.name, { shape: [part.all, inputs], order: part.order });
    }
    if (transposed !== true) return whole;
    return this.view(whole, 'transposed', { shape: [inputs, outputs], transposed });
  }

  /** Separate query, key and value projections of the checkpoint. */
  queryKeyValue(layer: number, query: Linear, key: Linear, value: Linear): void {
    const { heads, kvHeads, headDim } = this.#spec.attention;
    const { hiddenSize } = this.#spec;
    const all = [
      { ...query, rows: heads * headDim },
      { ...key, rows: kvHeads * headDim },
      { ...value, rows: kvHeads * headDim },
    ];
    const name = tensorNames.qkv(layer);
    this.addParts(
      `${name}.weight`,
      all.map(({ rows, ...linear }) => ({
        source: this.#weight(linear, rows, hiddenSize),
        shape: [rows, hiddenSize],
      })),
    );
    if (query.bias) {
      this.addParts(
        `${name}.bias`,
        all.map(({ source, rows }) => ({ source: `${source}.bias`, shape: [rows] })),
      );
    }
  }

  /**
   * Query, key and value rows of one fused projection, which contains for each KV head its queries, its key
   * and its value, one after the other.
   */
  fusedQueryKeyValue(layer: number, { source, bias }: Linear): void {
    const { heads, kvHeads, headDim } = this.#spec.attention;
    const queries = (heads / kvHeads) * headDim;
    const perHead = queries + 2 * headDim;
    const ranges = (offset: number, count: number): SourceRows[] =>
      Array.from({ length: kvHeads }, (_, head) => ({ first: head * perHead + offset, count }));
    const rows = [
      ...ranges(0, queries),
      ...ranges(queries, headDim),
      ...ranges(queries + headDim, headDim),
    ];
    const part = (name: string, shape: readonly number[]) =>
      rows.map((range) => ({ source: name, shape, rows: range }));
    const all = kvHeads * perHead;
    const name = tensorNames.qkv(layer);
    this.addParts(`${name}.weight`, part(`${source}.weight`, [all, this.#spec.hiddenSize]));
    if (bias) this.addParts(`${name}.bias`, part(`${source}.bias`, [all]));
  }

  /** Query, key and value rows of one projection, all queries first, then all keys, then all values. */
  stackedQueryKeyValue(layer: number, linear: Linear): void {
    const { heads, kvHeads, headDim } = this.#spec.attention;
    const rows = (heads + 2 * kvHeads) * headDim;
    this.linear(tensorNames.qkv(layer), rows, this.#spec.hiddenSize, linear);
  }

  attentionOut(layer: number, linear: Linear): void {
    const { hiddenSize, attention } = this.#spec;
    this.linear(tensorNames.attentionOut(layer), hiddenSize, attendedWidth(attention), linear);
  }

  ffn(layer: number, { gate, up, down }: FfnSources): void {
    const { hiddenSize } = this.#spec;
    const { neurons } = this.#spec.ffn;
    if (gate?.bias) this.add(tensorNames.gateBias(layer), [neurons], `${gate.source}.bias`);
    if (up.bias) this.add(tensorNames.upBias(layer), [neurons], `${up.source}.bias`);
    if (down.bias) this.add(tensorNames.downBias(layer), [hiddenSize], `${down.source}.bias`);
    this.#bundle(layer, 'ffn', neurons, { ...(gate && { gate }), up, down });
  }

  #bundle(
    layer: number,
    ffn: BundleRecipe['ffn'],
    neurons: number,
    { gate, up, down }: FfnSources,
  ): void {
    const { hiddenSize } = this.#spec;
    this.#bundles.push({
      ...{ layer, ffn, neurons, hiddenSize },
      ...(gate === undefined ? {} : { gate: this.#weight(gate, neurons, hiddenSize) }),
      up: this.#weight(up, neurons, hiddenSize),
      down: this.#weight(down, hiddenSize, neurons),
    });
  }

  /** The FFN beside a layer's experts, and the row that determines its share, if there is one. */
  sharedFfn(layer: number, sources: FfnSources, gate?: string): void {
    this.#bundle(layer, 'shared', this.#spec.ffn.experts?.shared ?? 0, sources);
    if (gate === undefined) return;
    const shape = [1, this.#spec.hiddenSize];
    this.#vector(tensorNames.sharedGate(layer), { source: `${gate}.weight`, shape });
  }

  /**
   * The router and the experts of a layer.
   * @param from the layer's prefix
   * @param correction tensor that is added to the router's scores for the choice; its name within the layer
   */
  experts(
    layer: number,
    from: string,
    router: Linear,
    names: ExpertNames,
    correction?: { readonly source: string; readonly row?: boolean },
  ): void {
    const { hiddenSize, ffn } = this.#spec;
    const { count = 0 } = ffn.experts ?? {};
    this.linear(tensorNames.router(layer), count, hiddenSize, router);
    if (correction !== undefined) {
      const shape = correction.row ? [1, count] : [count];
      const source = `${from}.${correction.source}`;
      this.#vector(`${tensorNames.router(layer)}.correction`, { source, shape });
    }
    const addView = (name: string, view: SourceView) => this.#views.set(name, view);
    this.#experts.push(expertsRecipe(this.#spec, layer, from, names, this.#names, addView));
    this.#expertBiases(layer, from, names);
  }

  #expertBiases(layer: number, from: string, { prefix, biases }: ExpertNames): void {
    const { hiddenSize, ffn } = this.#spec;
    if (biases === undefined) return;
    const { count = 0, neurons = 0 } = ffn.experts ?? {};
    const [of, all] = [`${from}.${prefix}`, `${from}.${prefix}.${biases.gateUp}`];
    const rows = (name: string, part: 'gate' | 'up') => {
      if (!this.has(all)) {
        this.#vector(name, { source: `${of}.${biases[part]}`, shape: [count, neurons] });
        return;
      }
      const found = everyOther(all, part, [count, 2 * neurons]);
      this.#views.set(found.name, found.view);
      this.#vector(name, { source: found.name, shape: found.shape });
    };
    rows(tensorNames.expertGateBias(layer), 'gate');
    rows(tensorNames.expertUpBias(layer), 'up');
    const down = { source: `${of}.${biases.down}`, shape: [count, hiddenSize] };
    this.#vector(tensorNames.expertDownBias(layer), down);
  }

  /**
   * The head of a model that has its own; for a tied head, `source` is ignored.
   * @param unitRows whether its rows are divided by their lengths
   */
  head({ source, bias }: Linear, unitRows = false): void {
    const { vocabSize, embeddingSize, tiedHead } = this.#spec;
    if (tiedHead) this.#ignored.push(`${source}.weight`);
    else if (unitRows) {
      const [whole, shape] = [`${source}.weight`, [vocabSize, embeddingSize]];
      const name = `${whole}, rows of length 1`;
      this.#views.set(name, { source: whole, shape, unitRows });
      this.add(tensorNames.head, shape, name);
    } else this.add(tensorNames.head, [vocabSize, embeddingSize], `${source}.weight`);
    if (bias) this.add(tensorNames.headBias, [vocabSize], `${source}.bias`);
  }

  /** Whether the checkpoint has a tensor of this name. */
  has(name: string): boolean {
    return this.#names.has(name);
  }

  /**
   * Adds a view of a checkpoint tensor.
   * @param name what part of the source it is, in words
   * @returns its name
   */
  view(source: string, name: string, view: Omit<SourceView, 'source'>): string {
    const own = `${source}, ${name}`;
    this.#views.set(own, { source, ...view });
    return own;
  }

  /** Ignores the tensors of `count` layers after those of the model, if the checkpoint has any. */
  ignoreLayersBehind(prefix: string, count: number): void {
    const { layers } = this.#spec;
    for (const name of this.#names) {
      const [, layer] = name.startsWith(prefix)
        ? (/^(\d{1,6})\./.exec(name.slice(prefix.length)) ?? [])
        : [];
      const behind = layer !== undefined && Number(layer) - layers;
      if (behind !== false && behind >= 0 && behind < count) this.#ignored.push(name);
    }
  }

  /** Ignores tensors of these names, if the checkpoint has them. */
  ignore(...names: readonly string[]): void {
    this.#ignored.push(...names.filter((name) => this.#names.has(name)));
  }

  get recipe(): ModelRecipe {
    const [tensors, bundles, experts] = [this.#tensors, this.#bundles, this.#experts];
    const [ignored, twoHeads] = [this.#ignored, this.#twoHeads];
    const views = this.#views;
    const recipe = { spec: this.#spec, tensors, bundles, experts, views, ignored };
    return { ...recipe, ...(twoHeads && { twoHeads }) };
  }
}
