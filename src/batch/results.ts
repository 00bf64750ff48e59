/** Lines of the output, in the form of OpenAI's batches. */

import type { Answerer } from '../openai/answerer.ts';
import type { Refusal } from '../openai/refusal.ts';
import type { Answer } from './call.ts';
import { digitsOf, formatId } from './line-ids.ts';
import type { LineKey } from './line-table.ts';

/** The line for an answered request. */
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
 * The line for a refused request. If the line is a valid request, `response` has the API's answer; `error`
 * has the same message for all lines, with the place of the line.
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
