/** A model's architecture in words. */

import { brief } from '../checkpoint/json-file.ts';
import type { RotaryPositions, RotaryScaling } from '../models/positions.ts';
import { activations, type ModelSpec } from '../models/spec.ts';
import type { EndToken } from '../tokenizer/end-tokens.ts';

export function describeFfn({ ffn, layers }: ModelSpec): string {
  const { neurons, activation, gate, threshold, experts } = ffn;
  const above = threshold === 0 ? '' : ` above ${threshold}`;
  const gated = {
    none: '',
    linear: ', gated',
    both: ', gated, activation on gate and up',
    clamped: ', gated, clamped',
  }[gate];
  const arithmetic = `${activation}${above}${gated}`;
  if (experts === undefined) return `${neurons} neurons, ${arithmetic}`;
  const { count, topK, neurons: each, shared, denseLayers, early } = experts;
  const dense = denseLayers.length;
  return [
    `${count} experts of ${each} neurons, ${topK} for each token`,
    ...(early ? ['chosen before attention'] : []),
    ...(shared === 0 ? [] : [`${shared} shared neurons for every token`]),
    ...(dense === 0 ? [] : [`${dense} of ${layers} layers of ${neurons} neurons without experts`]),
    arithmetic,
  ].join(', ');
}

export function describeAttention({ attention }: ModelSpec): string {
  const { heads, kvHeads, headDim, qkNorm, windows, clip, softCap, sinks } = attention;
  const shown = windows.filter((window) => window !== null);
  const where = shown.length === windows.length ? '' : ` in ${shown.length} layers`;
  return [
    `${heads} heads of ${headDim}, ${kvHeads} for keys and values`,
    ...(qkNorm === 'none' ? [] : ['queries and keys normed']),
    ...(clip === undefined ? [] : [`clipped at ${clip}`]),
    ...(softCap === undefined ? [] : [`scores capped at ${softCap}`]),
    ...(sinks === true ? ['an attention sink for each head'] : []),
    ...(shown.length === 0 ? [] : [`window of ${shown[0]}${where}`]),
  ].join(', ');
}

export function describePositions({ positions, localPositions, attention }: ModelSpec): string {
  if (positions.kind !== 'rotary') return positions.kind;
  const count = (kind: 'local' | 'none') =>
    attention.rotary?.filter((told) => told === kind).length ?? 0;
  const [local, none] = [count('local'), count('none')];
  return [
    `rotary, ${describeRotary(positions)}`,
    ...(localPositions ? [`in ${local} layers ${describeRotary(localPositions)}`] : []),
    ...(none === 0 ? [] : [`none in ${none} layers`]),
  ].join('; ');
}

function describeRotary({ dims, theta, scaling }: RotaryPositions): string {
  const scaled = scaling.kind === 'none' ? '' : `, ${describeScaling(scaling)}`;
  return `${dims} of each head, base ${theta}${scaled}`;
}

function describeScaling(scaling: Exclude<RotaryScaling, { kind: 'none' }>): string {
  return scaling.kind === 'longrope'
    ? `longrope scaling beyond ${scaling.trained} positions`
    : `${scaling.kind} scaling by ${scaling.factor}`;
}

const placements = {
  pre: 'pre',
  post: 'post',
  output: 'on sublayer outputs',
  both: 'on sublayer inputs and outputs',
} as const;

export function describeBlock({ block, norm }: ModelSpec): string {
  const kind = norm.kind === 'rms' ? 'RMS norm' : 'layer norm';
  if (block === 'sequential') return `attention, then FFN, ${kind} ${placements[norm.placement]}`;
  return `attention and FFN in parallel, ${norm.shared ? 'one' : 'two'} ${kind}${norm.shared ? '' : 's'}`;
}

/** The scale factors and caps of embedding, sublayers and logits; null if there are none. */
export function describeScales(spec: ModelSpec): string | null {
  const { embeddingScale, residualScale, logitScale, logitSoftCap } = spec;
  const by = (what: string, factor: number | undefined) =>
    factor === undefined ? [] : [`${what} by ${Number(factor.toPrecision(6))}`];
  const all = [
    ...by('embedding', embeddingScale),
    ...by('sublayers', residualScale),
    ...by('logits', logitScale),
    ...(logitSoftCap === undefined ? [] : [`logits capped at ${logitSoftCap}`]),
  ];
  return all.length === 0 ? null : all.join(', ');
}

/** Only programs need a longer list. */
const mostEnds = 12;

/** The tokens that end a text. */
export function describeEnds(endTokens: readonly EndToken[]): string {
  const shown = endTokens.slice(0, mostEnds).map(({ id, text }) => `${brief(text)} (${id})`);
  const rest = endTokens.length - shown.length;
  return [...shown, ...(rest > 0 ? [`${rest} more`] : [])].join(', ') || 'no token';
}

/** Whether neurons can be left out, and what that takes. */
export function describeSparsity({ ffn }: ModelSpec): string {
  if (ffn.experts !== undefined) return 'a router chooses which experts are read';
  return activations[ffn.activation].zeros
    ? 'most neurons are 0: predictors pay'
    : 'no neuron is exactly 0: every one is computed';
}
