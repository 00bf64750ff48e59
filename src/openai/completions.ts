/** `/v1/completions`: reads the body of a request. */

import { type AnswerFields, answerFields, readAnswer } from './answer-fields.ts';
import {
  type Body,
  checkFields,
  field,
  flagField,
  invalid,
  type NeutralValues,
  numberField,
} from './fields.ts';
import {
  type GenerationFields,
  generationFields,
  ignoredFields,
  readGeneration,
  usualTopK,
} from './generation-fields.ts';
import { badRequest } from './refusal.ts';

/** The contents of a body. */
export interface CompletionRequest extends GenerationFields {
  /** A text, or token ids. */
  readonly prompt: string | readonly number[];
}

const known = new Set([...generationFields, ...ignoredFields, 'prompt']);

/**
 * Reads the body of a request to `/v1/completions`.
 * @param unsupported fields that the API has, but the caller does not support
 * @throws Refusal that names the field at fault
 */
export function readCompletionRequest(body: Body, unsupported: NeutralValues): CompletionRequest {
  checkFields(body, known, unsupported);
  return { prompt: readPrompt(field(body, 'prompt')), ...readGeneration(body) };
}

/** The contents of a body for a server. */
export interface ServedCompletionRequest extends CompletionRequest, AnswerFields {
  /** Whether the answer's text begins with the prompt. */
  readonly echo: boolean;
  /** How many of the most likely tokens are reported with each token; null: no probabilities. */
  readonly logprobs: number | null;
}

/** The API's limit for alternatives to the drawn token. */
const mostLogprobs = { least: 0, most: 5, whole: true };
const served = new Set([...known, ...answerFields, 'echo', 'logprobs', 'best_of']);
const neverServed: NeutralValues = { suffix: (value) => value === '' };

/**
 * Reads the body of a request to a server's `/v1/completions`.
 * @throws Refusal that names the field at fault
 */
export function readServedCompletion(body: Body): ServedCompletionRequest {
  checkFields(body, served, neverServed);
  const answer = readAnswer(body);
  const bestOf = field(body, 'best_of');
  if (bestOf !== undefined && bestOf !== answer.n) throw invalid('best_of', "as 'n'", bestOf);
  return {
    prompt: readPrompt(field(body, 'prompt')),
    ...readGeneration(body, usualTopK),
    ...answer,
    echo: flagField(body, 'echo') ?? false,
    logprobs: numberField(body, 'logprobs', mostLogprobs) ?? null,
  };
}

/** One text, or one list of token ids. @throws Refusal */
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
    const message = `'prompt' must be one text, not a list of ${items.length}: send one request for each`;
    throw badRequest('unsupported_parameter', message, 'prompt');
  }
  throw invalid('prompt', 'a text or a list of token ids', value);
}
