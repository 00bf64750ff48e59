/** `/v1/completions`: what a request's body asks for, and the object that answers it. */

import { brief } from '../checkpoint/json-file.ts';
import type { SamplingOptions } from '../engine/sampling-options.ts';
import { type Body, field, invalid, type NumberRange, numberField } from './fields.ts';
import { badRequest } from './refusal.ts';

/** What a body asks for. */
export interface CompletionRequest {
  /** A text, or the ids of its tokens. */
  readonly prompt: string | readonly number[];
  /** Undefined where the body leaves it to the command. */
  readonly maxTokens: number | undefined;
  /** Without a seed where the body has none. */
  readonly sampling: Omit<SamplingOptions, 'seed'> & { readonly seed?: number };
  readonly stop: readonly string[];
}

/** What was made of a request. */
export interface Completion {
  readonly text: string;
  readonly promptTokens: number;
  readonly tokens: number;
  /** `stop`: the model or a stop text ended it, `length`: there was no room for more. */
  readonly finishReason: 'stop' | 'length';
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

/** Fields that would change the result, and the value that asks for nothing. */
const unsupported: Readonly<Record<string, (value: unknown) => boolean>> = {
  n: (value) => value === 1,
  best_of: (value) => value === 1,
  echo: (value) => value === false,
  stream: (value) => value === false,
  stream_options: () => false,
  logprobs: () => false,
  suffix: (value) => value === '',
  logit_bias: isEmptyObject,
  presence_penalty: (value) => value === 0,
  frequency_penalty: (value) => value === 0,
};

/** Fields that change nothing here: who asks, what for, and the name of the model, which is given. */
const ignored = new Set(['model', 'user', 'metadata', 'store', 'service_tier']);

const known = new Set([...Object.keys(ranges), ...ignored, 'prompt', 'stop']);

/**
 * Reads the body of a request to `/v1/completions`.
 * @throws Refusal that names the field at fault
 */
export function readCompletionRequest(body: Body): CompletionRequest {
  for (const name of Object.keys(body)) checkKnown(name, field(body, name));
  const seed = numberField(body, 'seed', ranges.seed);
  return {
    prompt: readPrompt(field(body, 'prompt')),
    maxTokens: numberField(body, 'max_tokens', ranges.max_tokens),
    sampling: {
      temperature: numberField(body, 'temperature', ranges.temperature) ?? 1,
      topP: numberField(body, 'top_p', ranges.top_p) ?? 1,
      topK: numberField(body, 'top_k', ranges.top_k) ?? 0,
      minP: numberField(body, 'min_p', ranges.min_p) ?? 0,
      repetitionPenalty: numberField(body, 'repetition_penalty', ranges.repetition_penalty) ?? 1,
      ...(seed === undefined ? {} : { seed }),
    },
    stop: readStop(field(body, 'stop')),
  };
}

function checkKnown(name: string, value: unknown): void {
  if (value === undefined || known.has(name)) return;
  if (!Object.hasOwn(unsupported, name)) {
    throw badRequest('unknown_parameter', `the parameter ${brief(name)} is unknown`, name);
  }
  if (unsupported[name]?.(value)) return;
  throw badRequest(
    'unsupported_parameter',
    `'${name}' of ${brief(value)} is not supported: leave it out`,
    name,
  );
}

function isEmptyObject(value: unknown): boolean {
  return typeof value === 'object' && value !== null && Object.keys(value).length === 0;
}

function readPrompt(value: unknown): string | readonly number[] {
  if (value === undefined) {
    throw badRequest('missing_parameter', "'prompt' is missing", 'prompt');
  }
  if (typeof value === 'string') return value;
  if (!Array.isArray(value)) throw invalid('prompt', 'a text or a list of token ids', value);
  const items: readonly unknown[] = value;
  if (items.length > 0 && items.every((item) => typeof item === 'number')) return items;
  if (items.length === 1) return readPrompt(items[0]);
  if (items.every((item) => typeof item === 'string' || Array.isArray(item))) {
    const message = `'prompt' must be one text, not a list of ${items.length}: write a line for each`;
    throw badRequest('unsupported_parameter', message, 'prompt');
  }
  throw invalid('prompt', 'a text or a list of token ids', value);
}

function readStop(value: unknown): readonly string[] {
  if (value === undefined) return [];
  const stops: readonly unknown[] = Array.isArray(value) ? value : [value];
  if (stops.length <= maxStops && stops.every((stop) => typeof stop === 'string')) return stops;
  throw invalid('stop', `a text or a list of at most ${maxStops} texts`, value);
}

/** Who answers. */
export interface Answerer {
  /** The model's name. */
  readonly model: string;
  /** Changes with everything that changes results: weights, predictors, dtypes. */
  readonly fingerprint: string;
}

/**
 * The completion object that answers a request.
 * @param id of the object, without the prefix that the API gives it
 */
export function completionBody(
  id: string,
  { text, promptTokens, tokens, finishReason }: Completion,
  { model, fingerprint }: Answerer,
): object {
  return {
    id: `cmpl-${id}`,
    object: 'text_completion',
    created: Math.floor(Date.now() / 1000),
    model,
    system_fingerprint: fingerprint,
    choices: [{ text, index: 0, logprobs: null, finish_reason: finishReason }],
    usage: {
      prompt_tokens: promptTokens,
      completion_tokens: tokens,
      total_tokens: promptTokens + tokens,
    },
  };
}
