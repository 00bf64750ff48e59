/** Lines of the output, as OpenAI's batches have them. */

import type { Answerer } from '../openai/answerer.ts';
import type { Refusal } from '../openai/refusal.ts';
import type { Answer } from './call.ts';
import { digitsOf, formatId } from './line-ids.ts';
import type { LineKey } from './line-table.ts';

/** The line for a request that was answered. */
export function answerLine(
  key: LineKey,
  customId: string | null,
  answer: Answer,
  by: Answerer,
): string {
  const body = answer.body(digitsOf(key), by);
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
