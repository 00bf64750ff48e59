/** Builds a spec from a configuration and the traits of its family. */

import {
  activationOf,
  boolean,
  type ConfigFile,
  derivedHeadDim,
  firstInteger,
  headDimOf,
  integer,
  kvHeadsOf,
  limits,
  positiveNumber,
  tokenId,
  tokenIds,
} from './config.ts';
import { commonKeys, type DecoderTraits, type ToldPositions } from './decoder-traits.ts';
import { rotaryOf } from './rotary-config.ts';
import type { ModelSpec } from './spec.ts';
import { inputBitsOf } from './ternary-config.ts';

/**
 * @throws InputError when the configuration is incomplete, contradictory or asks for an unsupported feature
 */
export function decoderSpec(at: ConfigFile, family: string, traits: DecoderTraits): ModelSpec {
  const keys = { ...commonKeys, ...traits.keys };
  const { defaults = {}, block = 'sequential' } = traits;
  const hiddenSize = firstInteger(at, keys.hidden, undefined, limits.hiddenSize);
  const heads = firstInteger(at, keys.heads, undefined, limits.heads);
  const headDim = traits.headGeometry?.headDim ?? headDimBy(at, traits, hiddenSize, heads);
  const told = toldPositions(at, traits, headDim, keys.positions);
  const { positions, maxPositions, localPositions } = told;
  const neurons = defaults.widening && defaults.widening * hiddenSize;
  return {
    family,
    vocabSize: integer(at, 'vocab_size', limits.vocabSize),
    hiddenSize,
    embeddingSize: hiddenSize,
    layers: firstInteger(at, keys.layers, undefined, limits.layers),
    ...traits.scales,
    block,
    ...inputBitsOf(at),
    attention: {
      heads,
      kvHeads: traits.headGeometry?.kvHeads ?? kvHeadsOf(at, keys.kvHeads, heads, defaults.kvHeads),
      headDim,
      scale: headDim ** -0.5,
      qkNorm: traits.qkNorm ?? 'none',
      windows: traits.windows ?? [],
      ...traits.attention,
      ...(traits.innerNorms && { innerNorm: true }),
      ...(told.rotary && { rotary: told.rotary }),
    },
    ...{ positions, maxPositions },
    ...(localPositions && { localPositions }),
    norm: norms(at, traits),
    ffn: {
      neurons: firstInteger(at, keys.neurons, neurons, limits.neurons),
      ...activationOf(at, traits.activation, ...keys.activation),
      gate: traits.gate,
      ...(traits.innerNorms && { innerNorm: true }),
      ...(traits.clamped && { clamped: traits.clamped }),
      ...(traits.experts && { experts: traits.experts.spec }),
    },
    tiedHead: boolean(at, 'tie_word_embeddings', defaults.tiedHead ?? false),
    bosId: tokenId(at, 'bos_token_id', traits.bosId),
    eosIds: tokenIds(at, 'eos_token_id', traits.eosIds),
  };
}

function headDimBy(
  at: ConfigFile,
  { evenHeads, defaults }: DecoderTraits,
  hiddenSize: number,
  heads: number,
): number {
  return evenHeads
    ? derivedHeadDim(at, hiddenSize, heads)
    : headDimOf(at, hiddenSize, heads, defaults?.headDim);
}

function norms(at: ConfigFile, { norm, block, twoNorms }: DecoderTraits): ModelSpec['norm'] {
  return {
    kind: norm.kind,
    eps: positiveNumber(at, ...norm.eps),
    placement: norm.placement ?? 'pre',
    shared: block === 'parallel' && twoNorms !== true,
    final: true,
    ...(norm.embedding === true && { embedding: true }),
    ...(norm.plain === true && { plain: true }),
  };
}

function toldPositions(
  at: ConfigFile,
  traits: DecoderTraits,
  headDim: number,
  keys: readonly string[],
): ToldPositions {
  const { defaults = {}, learnedOffset: offset } = traits;
  const most = offset === undefined ? limits.integer : limits.storedPositions;
  const trained = firstInteger(at, keys, defaults.positions ?? 2048, most);
  if (offset !== undefined) {
    return { positions: { kind: 'learned', offset }, maxPositions: trained };
  }
  return traits.positions?.(at, headDim, trained) ?? rotary(at, traits, headDim, trained);
}

/** One rotary embedding, in all layers or in some. */
function rotary(
  at: ConfigFile,
  { rotaryShare, theta, rotaryKeys: keys, interleaved, told, attention }: DecoderTraits,
  headDim: number,
  trained: number,
): ToldPositions {
  const latentRope = attention?.latent?.rope;
  const defaults = { partial: rotaryShare ?? null, ...(theta && { theta }), ...(keys && { keys }) };
  const { positions, maxPositions } = rotaryOf(at, latentRope ?? headDim, trained, defaults);
  return {
    positions: { ...positions, ...(interleaved && { pairs: 'interleaved' }) },
    maxPositions,
    ...(told?.includes(false) && { rotary: told.map((is) => (is ? 'global' : 'none')) }),
  };
}
