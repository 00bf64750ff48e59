/**
 * Further request fields that only a server supports: the number of answers, streaming, penalties and
 * biases.
 */

import { isJsonObject } from '../checkpoint/json-file.ts';
import { type Body, field, flagField, invalid, numberField } from './fields.ts';

/** The number of answers, whether they are streamed, and their penalties and biases. */
export interface AnswerFields {
  /** The number of answers to the same prompt. */
  readonly n: number;
  readonly stream: boolean;
  /** Whether a stream ends with its `usage`. */
  readonly includeUsage: boolean;
  /** Subtracted from the logit of each token that occurs in the answer. */
  readonly presencePenalty: number;
  /** Subtracted from the logit of each token once for every time it occurs in the answer. */
  readonly frequencyPenalty: number;
  /** Added to the logits of these token ids. */
  readonly logitBias: ReadonlyMap<number, number>;
}

const mostAnswers = { least: 1, most: 16, whole: true };
const penalty = { least: -2, most: 2 };
/** The most tokens with a bias. */
const mostBiases = 1024;
const mostBias = 100;

/** Names of all fields that {@link readAnswer} reads. */
export const answerFields: readonly string[] = [
  ...['n', 'stream', 'stream_options', 'presence_penalty', 'frequency_penalty', 'logit_bias'],
];

/** @throws Refusal that names the field at fault */
export function readAnswer(body: Body): AnswerFields {
  return {
    n: numberField(body, 'n', mostAnswers) ?? 1,
    stream: flagField(body, 'stream') ?? false,
    includeUsage: readIncludeUsage(field(body, 'stream_options')),
    presencePenalty: numberField(body, 'presence_penalty', penalty) ?? 0,
    frequencyPenalty: numberField(body, 'frequency_penalty', penalty) ?? 0,
    logitBias: readLogitBias(field(body, 'logit_bias')),
  };
}

function readIncludeUsage(value: unknown): boolean {
  if (value === undefined) return false;
  if (!isJsonObject(value)) throw invalid('stream_options', 'an object', value);
  const { include_usage: wanted } = value;
  if (wanted === undefined || wanted === null || typeof wanted === 'boolean')
    return wanted === true;
  throw invalid('stream_options.include_usage', 'true or false', wanted);
}

function readLogitBias(value: unknown): ReadonlyMap<number, number> {
  if (value === undefined) return new Map();
  if (!isJsonObject(value)) throw invalid('logit_bias', 'an object', value);
  const entries = Object.entries(value);
  const fits = entries.every(
    ([id, bias]) => /^\d{1,9}$/.test(id) && typeof bias === 'number' && Math.abs(bias) <= mostBias,
  );
  if (fits && entries.length <= mostBiases) {
    return new Map(entries.map(([id, bias]) => [Number(id), bias as number]));
  }
  const must = `an object of at most ${mostBiases} token ids with numbers from -${mostBias} to ${mostBias}`;
  throw invalid('logit_bias', must, value);
}
