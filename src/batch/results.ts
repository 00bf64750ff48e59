/** Lines of the output, as OpenAI's batches have them. */

import type { Answerer } from '../openai/answerer.ts';
import type { Completion } from '../openai/completion.ts';
import type { Refusal } from '../openai/refusal.ts';
import type { Endpoint } from './endpoints.ts';
import { digitsOf, formatId } from './line-ids.ts';
import type { LineKey } from './line-table.ts';

/** A completion, and the endpoint whose object it goes into. */
export interface Outcome {
  readonly endpoint: Endpoint;
  readonly completion: Completion;
}

/** The line for a request that was answered. */
export function answerLine(
  key: LineKey,
  customId: string | null,
  { endpoint, completion }: Outcome,
  by: Answerer,
): string {
  const body = endpoint.answer(digitsOf(key), completion, by);
  return format({
    id: formatId(key),
    custom_id: customId,
    response: { status_code: 200, request_id: requestId(key), body },
    error: null,
  });
}

/**
 * The line for one that was refused. What the API would answer is in `response`, for a line that is a
 * request; `error` says the same for all of them, and where the line is.
 */
export function refusalLine(
  key: LineKey,
  customId: string | null,
  { code, message, param, status, error }: Refusal,
  line: number,
): string {
  const response = { status_code: status, request_id: requestId(key), body: { error } };
  return format({
    id: formatId(key),
    custom_id: customId,
    response: status === null ? null : response,
    error: { code, message, param, line },
  });
}

/** `id` is its first key: see `resultStart`. */
function format(result: { readonly id: string; readonly [key: string]: unknown }): string {
  return `${JSON.stringify(result)}\n`;
}

function requestId(key: LineKey): string {
  return `req_${digitsOf(key)}`;
}
