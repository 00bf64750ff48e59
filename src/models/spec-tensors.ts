/**
 * The tensors of a model directory, derived from the architecture alone; and a check whether the
 * architecture is consistent.
 */

import type { RotaryPositions } from './positions.ts';
import {
  type ExpertsSpec,
  expertsOf,
  type LatentSpec,
  type ModelSpec,
  needsAllActivations,
  tensorNames,
} from './spec.ts';

/** A tensor that the engine looks for. */
export interface SpecTensor {
  readonly name: string;
  /** `(n)` for a vector, `(rows, columns)` for a matrix. */
  readonly shape: readonly number[];
  /** Whether the model cannot run without it. */
  readonly needed: boolean;
}

/** The most positions of a sequence; kernels count them in 32 bits. */
const mostPositions = 2 ** 31 - 1;

/** The deepest models known have 126. */
const mostLayers = 4096;

/** The first contradiction in a spec whose numbers are each of the right kind, or null. */
export function contradictionIn(spec: ModelSpec): string | null {
  const { attention, positions, layers, ffn } = spec;
  const { heads, kvHeads, headDim, windows } = attention;
  if (layers > mostLayers) return `${layers} layers are more than ${mostLayers}`;
  if (heads % kvHeads !== 0)
    return `the number of query heads, ${heads}, is not a multiple of the number of KV heads, ${kvHeads}`;
  if (windows.length !== 0 && windows.length !== layers) {
    return `there are ${windows.length} windows for ${layers} layers`;
  }
  const { experts, gate, clamped } = ffn;
  if ((gate === 'clamped') !== (clamped !== undefined)) return 'a gate is clamped without limits';
  if (gate === 'clamped' && (experts?.denseLayers.length !== 0 || experts.shared !== 0)) {
    return 'clamped gates are supported in experts only';
  }
  if (experts !== undefined) {
    const contradiction = contradictionInExperts(experts, layers);
    if (contradiction !== null) return contradiction;
    if (experts.early === true && spec.block === 'parallel') {
      return 'a router reads the input of the layer, but the blocks are parallel';
    }
  }
  if (attention.latent !== undefined) {
    const contradiction = contradictionInLatent(spec, attention.latent);
    if (contradiction !== null) return contradiction;
  }
  if (needsAllActivations(spec)) {
    const { placement } = spec.norm;
    if (experts !== undefined) return 'activations of experts are normed or rounded as one row';
    if (attention.latent !== undefined) return 'inputs of a latent vector are rounded';
    if (ffn.innerNorm === true && spec.norm.kind !== 'rms') return 'a norm moves activations off 0';
    if (placement !== 'pre' && placement !== 'both') return 'the residual stream itself is rounded';
  }
  if (spec.maxPositions > mostPositions) return `${spec.maxPositions} positions are too many`;
  for (const rotary of [positions, spec.localPositions]) {
    const problem = rotary?.kind === 'rotary' ? rotaryProblem(rotary, headDim) : null;
    if (problem !== null) return problem;
  }
  const { rotary } = attention;
  if (rotary !== undefined && (rotary.length !== layers || positions.kind !== 'rotary')) {
    return `${rotary.length} entries say which layers have rotary positions, but there are ${layers} layers`;
  }
  if (rotary?.includes('local') === true && spec.localPositions === undefined) {
    return 'there are no rotary positions for local layers';
  }
  if (positions.kind === 'learned' && positions.offset > mostPositions) {
    return `the offset of positions, ${positions.offset}, is too large`;
  }
  return null;
}

function rotaryProblem({ dims, scaling }: RotaryPositions, headDim: number): string | null {
  if (dims % 2 !== 0 || dims > headDim) {
    return `${dims} values of a head of ${headDim} cannot be rotated in pairs`;
  }
  if (scaling.kind !== 'longrope') return null;
  const wrong = [scaling.short, scaling.long].find(({ length }) => length !== dims / 2);
  return wrong === undefined ? null : `${wrong.length} factors are given for ${dims / 2} pairs`;
}

function contradictionInLatent(
  { attention, positions }: ModelSpec,
  { rope, value }: LatentSpec,
): string | null {
  const { heads, kvHeads, headDim, qkNorm } = attention;
  if (rope >= headDim || value > headDim) {
    return `a head of ${headDim} values is too small for ${rope} rotary values or for ${value} values`;
  }
  if (heads !== kvHeads)
    return `there are ${kvHeads} KV heads for ${heads} heads, but keys come from a latent vector`;
  if (qkNorm !== 'none') return 'queries are normed although they come from a latent vector';
  const told = positions.kind === 'rotary' && positions.dims === rope;
  return told
    ? null
    : `rotary positions do not use the ${rope} values of a head that are meant for them`;
}

/**
 * The most experts in all layers, more than any model has: lists hold an entry for each expert and for each
 * of its weights.
 */
export const mostExperts = 2 ** 17;

function contradictionInExperts(
  { count, topK, denseLayers, groups }: ExpertsSpec,
  layers: number,
): string | null {
  if (count * layers > mostExperts) return `${layers} layers of ${count} experts are too many`;
  if (topK > count) return `a token takes ${topK} of ${count} experts`;
  if (denseLayers.some((layer, i) => layer >= layers || layer <= (denseLayers[i - 1] ?? -1))) {
    return `layers ${denseLayers.join(', ')} of ${layers} have no experts`;
  }
  if (denseLayers.length === layers) return 'no layer has experts';
  if (groups === undefined) return null;
  const eligible = (count / groups.count) * groups.topK;
  if (groups.best * groups.count > count) return `groups have no ${groups.best} best experts`;
  if (count % groups.count !== 0 || groups.topK > groups.count || topK > eligible) {
    return `a token takes ${topK} of ${count} experts in ${groups.topK} of ${groups.count} groups`;
  }
  return null;
}

/**
 * A matrix that computes some of the queries, keys and values of a layer, side by side for each position.
 */
interface Projection {
  readonly name: string;
  readonly rows: number;
  /** Index of the first value that its rows compute. */
  readonly first: number;
}

/** Query, key and value rows of a layer stacked in one matrix: the usual form unless formats differ. */
export function fusedProjection({ attention }: ModelSpec, layer: number): Projection {
  const { heads, kvHeads, headDim } = attention;
  const rows = (heads + 2 * kvHeads) * headDim;
  return { name: `${tensorNames.qkv(layer)}.weight`, rows, first: 0 };
}

/** Layer numbers by the names of such matrices. */
export function fusedLayers(spec: ModelSpec): ReadonlyMap<string, number> {
  const layers = Array.from({ length: spec.layers }, (_, layer) => layer);
  return new Map(layers.map((layer) => [fusedProjection(spec, layer).name, layer]));
}

/** Query, key and value rows of a layer as three matrices. */
export function separateProjections({ attention }: ModelSpec, layer: number): Projection[] {
  const { heads, kvHeads, headDim } = attention;
  const [queries, keys] = [heads * headDim, kvHeads * headDim];
  return [
    { name: `${tensorNames.query(layer)}.weight`, rows: queries, first: 0 },
    { name: `${tensorNames.key(layer)}.weight`, rows: keys, first: queries },
    { name: `${tensorNames.value(layer)}.weight`, rows: keys, first: queries + keys },
  ];
}

/** The one of the two forms that a model has, according to the names of its tensors. */
export function projectionsOf(
  spec: ModelSpec,
  layer: number,
  tensors: Pick<ReadonlyMap<string, unknown>, 'has'>,
): readonly Projection[] {
  const separate = separateProjections(spec, layer);
  return separate.every(({ name }) => tensors.has(name))
    ? separate
    : [fusedProjection(spec, layer)];
}

/** The matrices that compute a layer's queries, keys and values, in the order of use. */
export function attentionMatrices(
  spec: ModelSpec,
  layer: number,
  tensors: Pick<ReadonlyMap<string, unknown>, 'has'>,
): readonly string[] {
  const { latent } = spec.attention;
  if (latent === undefined) return projectionsOf(spec, layer, tensors).map(({ name }) => name);
  return [...latentMatrices(spec, latent, layer)].map(({ name }) => name);
}

/** Values in a row of attention output: those of all heads. */
export function attendedWidth({ heads, headDim, latent }: ModelSpec['attention']): number {
  return heads * (latent?.value ?? headDim);
}

function* latentMatrices(
  { hiddenSize, attention: { heads, headDim } }: Pick<ModelSpec, 'hiddenSize' | 'attention'>,
  { queryRank, rank, rope, value }: LatentSpec,
  layer: number,
): Generator<SpecTensor> {
  const matrix = (name: string, ...shape: [rows: number, columns: number]) => {
    return { name: `${name}.weight`, shape, needed: true };
  };
  if (queryRank !== null) yield matrix(tensorNames.latentQuery(layer), queryRank, hiddenSize);
  yield matrix(tensorNames.query(layer), heads * headDim, queryRank ?? hiddenSize);
  yield matrix(tensorNames.latent(layer), rope + rank, hiddenSize);
  yield matrix(tensorNames.keyValue(layer), heads * (headDim - rope + value), rank);
}

/** Queries, keys and values of a layer that computes them from latent vectors. */
function* latentTensors(spec: ModelSpec, latent: LatentSpec, layer: number): Generator<SpecTensor> {
  yield* latentMatrices(spec, latent, layer);
  const { queryRank, rank, rope } = latent;
  const norm = { kind: 'rms' } as const;
  if (queryRank !== null) {
    yield { name: `${tensorNames.latentQuery(layer)}.bias`, shape: [queryRank], needed: false };
    yield* normTensors(tensorNames.latentQueryNorm(layer), { ...norm, width: queryRank });
  }
  yield { name: `${tensorNames.latent(layer)}.bias`, shape: [rope + rank], needed: false };
  yield* normTensors(tensorNames.latentNorm(layer), { ...norm, width: rank });
}

/** The same for a layer that computes them from its input. */
function* projectionTensors(
  spec: ModelSpec,
  layer: number,
  found: Pick<ReadonlyMap<string, unknown>, 'has'>,
): Generator<SpecTensor> {
  for (const { name, rows } of projectionsOf(spec, layer, found)) {
    yield { name, shape: [rows, spec.hiddenSize], needed: true };
  }
  const { rows } = fusedProjection(spec, layer);
  yield { name: `${tensorNames.qkv(layer)}.bias`, shape: [rows], needed: false };
}

/**
 * All tensors except bundles, in the order of layers; `layers` of the spec must have been checked.
 * @param found the existing tensors, by name: a model may have one of several forms
 */
export function* tensorsOf(
  spec: ModelSpec,
  found: Pick<ReadonlyMap<string, unknown>, 'has'>,
): Generator<SpecTensor> {
  const { vocabSize, hiddenSize, embeddingSize, positions, norm, layers } = spec;
  yield { name: tensorNames.tokens, shape: [vocabSize, embeddingSize], needed: true };
  if (positions.kind === 'learned') {
    const rows = spec.maxPositions + positions.offset;
    yield { name: tensorNames.positions, shape: [rows, hiddenSize], needed: true };
  }
  if (embeddingSize !== hiddenSize) {
    yield { name: tensorNames.projectIn, shape: [hiddenSize, embeddingSize], needed: true };
    yield { name: tensorNames.projectOut, shape: [embeddingSize, hiddenSize], needed: true };
  }
  const ofNorm = { ...norm, width: hiddenSize };
  if (norm.embedding === true) yield* normTensors(tensorNames.embeddingNorm, ofNorm);
  for (let layer = 0; layer < layers; layer++) yield* layerTensors(spec, layer, found);
  if (norm.final) yield* normTensors(tensorNames.finalNorm, ofNorm);
  if (!spec.tiedHead)
    yield { name: tensorNames.head, shape: [vocabSize, embeddingSize], needed: true };
  // A factor on logits is applied to the head's input, so such a model has no head bias.
  if (spec.logitScale === undefined) {
    yield { name: tensorNames.headBias, shape: [vocabSize], needed: false };
  }
}

function* layerTensors(
  spec: ModelSpec,
  layer: number,
  found: Pick<ReadonlyMap<string, unknown>, 'has'>,
): Generator<SpecTensor> {
  const { hiddenSize, norm, ffn } = spec;
  const { heads, sinks, latent } = spec.attention;
  const ofNorm = { ...norm, width: hiddenSize };
  const { input, output } = normsAround(norm.placement);
  if (input) yield* normTensors(tensorNames.attentionNorm(layer), ofNorm);
  if (output) yield* normTensors(tensorNames.attentionOutputNorm(layer), ofNorm);
  if (latent === undefined) yield* projectionTensors(spec, layer, found);
  else yield* latentTensors(spec, latent, layer);
  yield* headNormTensors(spec, layer);
  if (sinks === true) yield { name: tensorNames.sinks(layer), shape: [heads], needed: true };
  const width = attendedWidth(spec.attention);
  if (spec.attention.innerNorm === true) {
    yield* normTensors(tensorNames.attentionInnerNorm(layer), { ...norm, width });
  }
  yield* linearTensors(tensorNames.attentionOut(layer), hiddenSize, width);
  if (input && !norm.shared) yield* normTensors(tensorNames.ffnNorm(layer), ofNorm);
  if (output) yield* normTensors(tensorNames.ffnOutputNorm(layer), ofNorm);
  const experts = expertsOf(spec, layer);
  if (experts !== null) {
    yield* expertTensors(spec, experts, layer);
    return;
  }
  if (ffn.innerNorm === true) {
    yield* normTensors(tensorNames.ffnInnerNorm(layer), { ...norm, width: ffn.neurons });
  }
  if (ffn.gate !== 'none') {
    yield { name: tensorNames.gateBias(layer), shape: [ffn.neurons], needed: false };
  }
  yield { name: tensorNames.upBias(layer), shape: [ffn.neurons], needed: false };
  yield { name: tensorNames.downBias(layer), shape: [hiddenSize], needed: false };
}

/** The tensors of a layer with experts, except the weights of the experts and of the FFN beside them. */
function* expertTensors(
  { hiddenSize, ffn }: ModelSpec,
  { count, neurons, shared, sharedGate }: ExpertsSpec,
  layer: number,
): Generator<SpecTensor> {
  const router = tensorNames.router(layer);
  yield* linearTensors(router, count, hiddenSize);
  yield { name: `${router}.correction`, shape: [count], needed: false };
  if (shared > 0 && sharedGate) {
    yield { name: tensorNames.sharedGate(layer), shape: [hiddenSize], needed: true };
  }
  const values = [count * neurons];
  if (ffn.gate !== 'none') {
    yield { name: tensorNames.expertGateBias(layer), shape: values, needed: false };
  }
  yield { name: tensorNames.expertUpBias(layer), shape: values, needed: false };
  const outputs = [count * hiddenSize];
  yield { name: tensorNames.expertDownBias(layer), shape: outputs, needed: false };
}

/** Which norms a sublayer has: the weights of each have their own name. */
export function normsAround(placement: ModelSpec['norm']['placement']): {
  readonly input: boolean;
  readonly output: boolean;
} {
  return {
    input: placement !== 'output',
    output: placement === 'output' || placement === 'both',
  };
}

/** Lengths of the weights of the norms over queries and over keys. */
function headNormWidths({
  attention: { heads, kvHeads, headDim, qkNormOver },
}: Pick<ModelSpec, 'attention'>): { readonly query: number; readonly key: number } {
  return qkNormOver === undefined
    ? { query: headDim, key: headDim }
    : { query: heads * headDim, key: kvHeads * headDim };
}

function* headNormTensors(spec: ModelSpec, layer: number): Generator<SpecTensor> {
  const { qkNorm: kind, qkNormPlain: plain } = spec.attention;
  if (kind === 'none') return;
  const { query, key } = headNormWidths(spec);
  yield* normTensors(tensorNames.queryNorm(layer), { kind, plain, width: query });
  yield* normTensors(tensorNames.keyNorm(layer), { kind, plain, width: key });
}

interface NormTensors {
  readonly kind: 'layer' | 'rms';
  readonly plain?: boolean | undefined;
  readonly width: number;
}

function* normTensors(name: string, { kind, plain, width }: NormTensors): Generator<SpecTensor> {
  // A layer norm may have no weights; RMS norms without weights are marked as plain.
  if (plain === true) return;
  yield { name: `${name}.weight`, shape: [width], needed: kind === 'rms' };
  if (kind === 'layer') yield { name: `${name}.bias`, shape: [width], needed: false };
}

function* linearTensors(name: string, outputs: number, inputs: number): Generator<SpecTensor> {
  yield { name: `${name}.weight`, shape: [outputs, inputs], needed: true };
  yield { name: `${name}.bias`, shape: [outputs], needed: false };
}
