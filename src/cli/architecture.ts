/** A model's architecture in words. */

import { brief } from '../checkpoint/json-file.ts';
import { activations, type ModelSpec } from '../models/spec.ts';
import type { EndToken } from '../tokenizer/end-tokens.ts';

export function describeFfn({ ffn, layers }: ModelSpec): string {
  const { neurons, activation, gate, threshold, experts } = ffn;
  const above = threshold === 0 ? '' : ` above ${threshold}`;
  const gated = { none: '', linear: ', gated', both: ', gated, on both' }[gate];
  const arithmetic = `${activation}${above}${gated}`;
  if (experts === undefined) return `${neurons} neurons, ${arithmetic}`;
  const { count, topK, neurons: each, shared, denseLayers } = experts;
  const dense = denseLayers.length;
  return [
    `${count} experts of ${each} neurons, ${topK} for each token`,
    ...(shared === 0 ? [] : [`${shared} neurons beside them for all`]),
    ...(dense === 0 ? [] : [`${dense} of ${layers} layers of ${neurons} neurons without experts`]),
    arithmetic,
  ].join(', ');
}

export function describeAttention({ attention }: ModelSpec): string {
  const { heads, kvHeads, headDim, qkNorm, windows } = attention;
  const shown = windows.filter((window) => window !== null);
  const where = shown.length === windows.length ? '' : ` in ${shown.length} layers`;
  return [
    `${heads} heads of ${headDim}, ${kvHeads} for keys and values`,
    ...(qkNorm === 'none' ? [] : ['each normed']),
    ...(shown.length === 0 ? [] : [`window of ${shown[0]}${where}`]),
  ].join(', ');
}

export function describePositions({ positions }: ModelSpec): string {
  if (positions.kind !== 'rotary') return positions.kind;
  const { theta, dims, scaling } = positions;
  const scaled = scaling.kind === 'none' ? '' : `, ${scaling.kind} scaling by ${scaling.factor}`;
  return `rotary, ${dims} of each head, base ${theta}${scaled}`;
}

export function describeBlock({ block, norm }: ModelSpec): string {
  const kind = norm.kind === 'rms' ? 'RMS norm' : 'layer norm';
  if (block === 'sequential') return `attention, then FFN, ${kind} ${norm.placement}`;
  return `attention beside FFN, ${norm.shared ? 'one' : 'two'} ${kind}${norm.shared ? '' : 's'}`;
}

/** More are a list for programs. */
const mostEnds = 12;

/** The tokens that end a text. */
export function describeEnds(endTokens: readonly EndToken[]): string {
  const shown = endTokens.slice(0, mostEnds).map(({ id, text }) => `${brief(text)} (${id})`);
  const rest = endTokens.length - shown.length;
  return [...shown, ...(rest > 0 ? [`${rest} more`] : [])].join(', ') || 'no token';
}

/** Whether neurons can be left out, and what that takes. */
export function describeSparsity({ ffn }: ModelSpec): string {
  if (ffn.experts !== undefined) return 'a router tells which experts are read';
  return activations[ffn.activation].zeros
    ? 'most neurons are 0: predictors pay'
    : 'no neuron is exactly 0: every one is computed';
}
