/**
 * Families with the structure of most Hugging Face decoders: `model.embed_tokens`,
 * `model.layers.<n>.self_attn` and `.mlp`, `lm_head`, rotary positions. A family declares only its
 * differences.
 */

import type { ConfigFile } from './config.ts';
import { decoderSpec } from './decoder-spec.ts';
import {
  commonKeys,
  commonNames,
  type DecoderTraits,
  type ExpertTraits,
} from './decoder-traits.ts';
import { buildLatentAttention } from './latent-recipe.ts';
import { type FfnSources, type Linear, RecipeBuilder } from './recipe-builder.ts';
import { halvesSwapped, rowsFrom } from './row-order.ts';
import {
  type CheckpointFacts,
  expertsOf,
  type Family,
  type ModelRecipe,
  type ModelSpec,
  tensorNames,
} from './spec.ts';
import { attendedWidth, normsAround } from './spec-tensors.ts';

/**
 * A family whose traits follow from the configuration.
 * @param keys the fields that name the activation, if they are not the usual ones: see `Family`
 */
export function decoderFamily(
  modelTypes: readonly string[],
  traitsOf: (at: ConfigFile) => DecoderTraits,
  { activationKeys = commonKeys.activation }: Pick<Family, 'activationKeys'> = {},
): Family {
  return {
    modelTypes,
    activationKeys,
    recipe(facts) {
      const at = { config: facts.config, file: facts.configFile };
      const own = traitsOf(at);
      const traits = { ...own, keys: { activation: activationKeys, ...own.keys } };
      return new DecoderRecipe(decoderSpec(at, modelTypes[0] ?? '', traits), traits, facts).recipe;
    },
  };
}

class DecoderRecipe {
  readonly #spec: ModelSpec;
  readonly #traits: DecoderTraits;
  readonly #names: typeof commonNames;
  readonly #build: RecipeBuilder;
  readonly recipe: ModelRecipe;

  constructor(spec: ModelSpec, traits: DecoderTraits, facts: CheckpointFacts) {
    this.#spec = spec;
    this.#traits = traits;
    this.#names = { ...commonNames, ...traits.names };
    this.#build = new RecipeBuilder(spec, facts);
    this.recipe = this.#recipe();
  }

  #recipe(): ModelRecipe {
    const [build, names] = [this.#build, this.#names];
    const { maxPositions, hiddenSize, layers, positions, norm } = this.#spec;
    const prefixes = this.#traits.prefixes ?? ['model.', ''];
    const prefix = build.prefix(prefixes, `${names.tokens}.weight`, `${names.layers}.0.`);
    const head = build.oneOf(this.#traits.heads ?? ['lm_head']);
    build.tokens(`${prefix}${names.tokens}`, head);
    if (positions.kind === 'learned') {
      const shape = [maxPositions + positions.offset, hiddenSize];
      build.add(tensorNames.positions, shape, `${prefix}${names.positions}.weight`);
    }
    if (norm.embedding) this.#norm(tensorNames.embeddingNorm, `${prefix}${names.embeddingNorm}`);
    for (let layer = 0; layer < layers; layer++) {
      this.#layer(layer, `${prefix}${names.layers}.${layer}`);
    }
    build.ignoreLayersBehind(`${prefix}${names.layers}.`, this.#traits.layersBehind ?? 0);
    this.#norm(tensorNames.finalNorm, `${prefix}${names.finalNorm}`);
    const { bias, unitHead } = this.#traits;
    build.head({ source: head, bias: bias?.head ?? false }, unitHead);
    return build.recipe;
  }

  #layer(layer: number, from: string): void {
    const [build, names] = [this.#build, this.#names];
    const norm = (name: string, source: string) => this.#norm(name, `${from}.${source}`);
    const { placement, shared } = this.#spec.norm;
    const { input, output } = normsAround(placement);
    if (input) norm(tensorNames.attentionNorm(layer), names.attentionNorm);
    this.#attention(layer, from);
    if (output) norm(tensorNames.attentionOutputNorm(layer), names.attentionOutputNorm);
    if (input && !shared) norm(tensorNames.ffnNorm(layer), names.ffnNorm);
    const { experts, ignored = [] } = this.#traits;
    if (experts === undefined || expertsOf(this.#spec, layer) === null) {
      const { innerNorm, neurons } = this.#spec.ffn;
      if (innerNorm) {
        const source = `${from}.${names.ffn}.${names.ffnInnerNorm}`;
        this.#norm(tensorNames.ffnInnerNorm(layer), source, neurons);
      }
      build.ffn(layer, this.#ffn(`${from}.${names.ffn}`));
    } else {
      const { forms, shared: beside } = experts;
      const present = forms.find((form) => build.has(`${from}.${form.router.source}.weight`));
      const { router, names: ofExperts, correction } = present ?? forms[0];
      const linear = { ...router, source: `${from}.${router.source}` };
      build.experts(layer, from, linear, ofExperts, correction);
      if (beside !== undefined && this.#spec.ffn.experts?.shared !== 0) {
        const gate = beside.gate === undefined ? undefined : `${from}.${beside.gate}`;
        build.sharedFfn(layer, this.#sharedFfn(`${from}.${beside.source}`, beside), gate);
      }
    }
    if (output) norm(tensorNames.ffnOutputNorm(layer), names.ffnOutputNorm);
    build.ignore(...ignored.map((name) => `${from}.${name}`));
  }

  #attention(layer: number, from: string): void {
    const [build, names] = [this.#build, this.#names];
    const { turnsBack } = this.#traits;
    // Files of another format may have separate matrices where the family's own have one.
    const apart =
      !build.has(`${from}.${names.qkv}.weight`) && build.has(`${from}.${names.query}.weight`);
    const fused = apart ? undefined : this.#traits.fused;
    const { heads, kvHeads, headDim, sinks, latent } = this.#spec.attention;
    if (latent !== undefined) {
      const place = { layer, from: `${from}.self_attn`, bias: this.#traits.bias?.qkv ?? false };
      buildLatentAttention(build, this.#spec, latent, place);
    } else if (fused === undefined) {
      const projection = (source: string, count: number): Linear => {
        const all = count * headDim;
        const part = { name: 'halves swapped', all, order: halvesSwapped(count, headDim) };
        const linear = this.#linear(`${from}.${source}`, 'qkv');
        return turnsBack ? { ...linear, part } : linear;
      };
      const [query, key] = [projection(names.query, heads), projection(names.key, kvHeads)];
      build.queryKeyValue(layer, query, key, this.#linear(`${from}.${names.value}`, 'qkv'));
    } else {
      const linear = this.#linear(`${from}.${names.qkv}`, 'qkv');
      if (fused === 'grouped') build.fusedQueryKeyValue(layer, linear);
      else build.stackedQueryKeyValue(layer, linear);
    }
    this.#headNorm(tensorNames.queryNorm(layer), `${from}.${names.queryNorm}`, heads);
    this.#headNorm(tensorNames.keyNorm(layer), `${from}.${names.keyNorm}`, kvHeads);
    if (sinks) build.add(tensorNames.sinks(layer), [heads], `${from}.${names.sinks}`);
    if (this.#spec.attention.innerNorm) {
      const name = tensorNames.attentionInnerNorm(layer);
      this.#norm(name, `${from}.${names.attentionInnerNorm}`, attendedWidth(this.#spec.attention));
    }
    build.attentionOut(layer, this.#linear(`${from}.${names.out}`, 'out'));
  }

  #ffn(from: string): FfnSources {
    const names = this.#names;
    const { neurons, gate } = this.#spec.ffn;
    const linear = (source: string) => this.#linear(`${from}.${source}`, 'ffn');
    const down = linear(names.down);
    if (gate === 'none') return { up: linear(names.up), down };
    if (!this.#traits.fusedGate) return { gate: linear(names.gate), up: linear(names.up), down };
    return { ...fusedRows(linear(names.gateUp), neurons), down };
  }

  /** The FFN beside experts; its gate and up rows may be fused even if those of other FFNs are not. */
  #sharedFfn(from: string, { fused }: NonNullable<ExpertTraits['shared']>): FfnSources {
    const apart = this.#build.has(`${from}.${this.#names.up}.weight`);
    if (fused === undefined || apart) return this.#ffn(from);
    const { shared = 0 } = this.#spec.ffn.experts ?? {};
    const linear = (source: string) => this.#linear(`${from}.${source}`, 'ffn');
    return { ...fusedRows(linear(fused.gateUp), shared), down: linear(fused.down) };
  }

  #linear(source: string, kind: 'qkv' | 'out' | 'ffn'): Linear {
    const { bias, transposed = false } = this.#traits;
    return { source, bias: bias?.[kind] ?? false, transposed };
  }

  #norm(name: string, source: string, width = this.#spec.hiddenSize): void {
    const { kind, plus, plain, bias = kind === 'layer' } = this.#traits.norm;
    if (plain) return;
    this.#build.norm(name, { source, bias, width, ...(plus === undefined ? {} : { plus }) });
  }

  #headNorm(name: string, source: string, count: number): void {
    const { qkNorm, qkNormOver, qkNormPlain, headDim } = this.#spec.attention;
    if (qkNorm === 'none' || qkNormPlain) return;
    const { bias = true, plus } = this.#traits.norm;
    const widths = { heads: [count, headDim], row: count * headDim } as const;
    this.#build.norm(name, {
      source,
      bias: qkNorm === 'layer' && bias,
      width: qkNormOver === undefined ? headDim : widths[qkNormOver],
      // A norm of another kind than the norms of blocks has its own form of weights.
      ...(plus === undefined || qkNorm !== this.#spec.norm.kind ? {} : { plus }),
    });
  }
}

/** Gate and up rows of one projection, gate rows first. */
function fusedRows(linear: Linear, neurons: number): Pick<FfnSources, 'up'> & { gate: Linear } {
  const part = (name: string, first: number) => ({
    ...linear,
    part: { name, all: 2 * neurons, order: rowsFrom(first, neurons) },
  });
  return { gate: part('gate rows', 0), up: part('up rows', neurons) };
}
