/** Request fields for the generation of an answer, common to all endpoints. */

import type { SamplingOptions } from '../engine/sampling-options.ts';
import { type Body, field, invalid, type NumberRange, numberField } from './fields.ts';

/** How an answer is sampled and when it ends. */
export interface GenerationFields {
  /** Undefined if the body does not set it; then the command decides. */
  readonly maxTokens: number | undefined;
  /** Without a seed if the body has none. */
  readonly sampling: Omit<SamplingOptions, 'seed'> & { readonly seed?: number };
  readonly stop: readonly string[];
}

const maxStops = 16;
const largestCount = 2 ** 31 - 1;

/** The API's ranges; `top_k`, `min_p` and `repetition_penalty` are extensions of other servers. */
const ranges = {
  max_tokens: { least: 0, most: largestCount, whole: true },
  temperature: { least: 0, most: 2 },
  top_p: { least: Number.MIN_VALUE, most: 1 },
  seed: { least: Number.MIN_SAFE_INTEGER, most: Number.MAX_SAFE_INTEGER, whole: true },
  top_k: { least: 0, most: largestCount, whole: true },
  min_p: { least: 0, most: 1 },
  repetition_penalty: { least: 0.01, most: 100 },
} as const satisfies Record<string, NumberRange>;

/** Names of all fields that {@link readGeneration} reads. */
export const generationFields: readonly string[] = [...Object.keys(ranges), 'stop'];

/**
 * Fields without effect here: metadata about the user and the request, and the model's name, as there
 * is one model.
 */
export const ignoredFields: readonly string[] = [
  'model',
  'user',
  'metadata',
  'store',
  'service_tier',
];

/**
 * Default of `top_k` for requests to a server and for chats. The API has no such field; but without it,
 * sorting a vocabulary costs as much as generating a token, and very unlikely tokens are drawn.
 */
export const usualTopK = 40;

/**
 * @param otherwiseTopK `top_k` for a body that does not set it; 0 keeps all tokens
 * @throws Refusal that names the field at fault
 */
export function readGeneration(body: Body, otherwiseTopK = 0): GenerationFields {
  const seed = numberField(body, 'seed', ranges.seed);
  return {
    maxTokens: numberField(body, 'max_tokens', ranges.max_tokens),
    sampling: {
      temperature: numberField(body, 'temperature', ranges.temperature) ?? 1,
      topP: numberField(body, 'top_p', ranges.top_p) ?? 1,
      topK: numberField(body, 'top_k', ranges.top_k) ?? otherwiseTopK,
      minP: numberField(body, 'min_p', ranges.min_p) ?? 0,
      repetitionPenalty: numberField(body, 'repetition_penalty', ranges.repetition_penalty) ?? 1,
      ...(seed === undefined ? {} : { seed }),
    },
    stop: readStop(field(body, 'stop')),
  };
}

/** Reads a number of tokens from a field such as `max_tokens`. @throws Refusal */
export function tokensField(body: Body, name: string): number | undefined {
  return numberField(body, name, ranges.max_tokens);
}

function readStop(value: unknown): readonly string[] {
  if (value === undefined) return [];
  const stops: readonly unknown[] = Array.isArray(value) ? value : [value];
  if (stops.length <= maxStops && stops.every((stop) => typeof stop === 'string')) return stops;
  throw invalid('stop', `a text or a list of at most ${maxStops} texts`, value);
}

/** A seed of the API, which may be negative, in the sampler's range. */
export function samplerSeed(seed: number): number {
  return seed < 0 ? seed + 2 ** 53 : seed;
}

/** The seed of one of several answers to a request; the first answer has the request's seed. */
export function seedAt(seed: number, index: number): number {
  return (seed + index) % Number.MAX_SAFE_INTEGER;
}
