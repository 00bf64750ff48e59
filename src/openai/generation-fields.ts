/** Fields of a body that say how an answer is generated, of every endpoint. */

import type { SamplingOptions } from '../engine/sampling-options.ts';
import { type Body, field, invalid, type NumberRange, numberField } from './fields.ts';

/** How an answer is sampled and when it ends. */
export interface GenerationFields {
  /** Undefined where the body leaves it to the command. */
  readonly maxTokens: number | undefined;
  /** Without a seed where the body has none. */
  readonly sampling: Omit<SamplingOptions, 'seed'> & { readonly seed?: number };
  readonly stop: readonly string[];
}

const maxStops = 16;
const largestCount = 2 ** 31 - 1;

/** Ranges as the API has them; `top_k`, `min_p` and `repetition_penalty` are what other servers add. */
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

/** Fields that change nothing here: who asks, what for, and the name of the model, which is given. */
export const ignoredFields: readonly string[] = [
  'model',
  'user',
  'metadata',
  'store',
  'service_tier',
];

/**
 * `top_k` of requests to a server, and of chats, that do not say it. The API knows no such thing; but with
 * all tokens, sorting a vocabulary costs as much as generating a token, and tokens are drawn that nobody
 * wants.
 */
export const usualTopK = 40;

/**
 * @param otherwiseTopK of a body that does not say `top_k`; 0 leaves all tokens in
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

/** A number of tokens under another name than `max_tokens`. @throws Refusal */
export function tokensField(body: Body, name: string): number | undefined {
  return numberField(body, name, ranges.max_tokens);
}

function readStop(value: unknown): readonly string[] {
  if (value === undefined) return [];
  const stops: readonly unknown[] = Array.isArray(value) ? value : [value];
  if (stops.length <= maxStops && stops.every((stop) => typeof stop === 'string')) return stops;
  throw invalid('stop', `a text or a list of at most ${maxStops} texts`, value);
}

/** A seed of the API, which may be negative, as the sampler takes it. */
export function samplerSeed(seed: number): number {
  return seed < 0 ? seed + 2 ** 53 : seed;
}

/** The seed of one of several answers to a request: the first has that of the request. */
export function seedAt(seed: number, index: number): number {
  return (seed + index) % Number.MAX_SAFE_INTEGER;
}
