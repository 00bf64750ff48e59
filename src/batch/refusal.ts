/** Why a line is answered with an error: the run goes on with the next one. */

/**
 * OpenAI's words where it has one. Of the first group nobody knows which request the line is; what is
 * wrong with the others is answered with an HTTP status.
 */
export type RefusalCode =
  | 'line_too_long'
  | 'invalid_json_line'
  | 'missing_custom_id'
  | 'invalid_custom_id'
  | 'duplicate_custom_id'
  | 'invalid_method'
  | 'invalid_url'
  | 'unsupported_endpoint'
  | 'missing_parameter'
  | 'invalid_value'
  | 'unsupported_parameter'
  | 'unknown_parameter'
  | 'context_length_exceeded'
  | 'invalid_prompt';

export class Refusal extends Error {
  readonly code: RefusalCode;
  /** The field of the request's body that it is about. */
  readonly param: string | null;
  /** The HTTP status that the API answers; null for a line that is no request. */
  readonly status: number | null;

  constructor(
    code: RefusalCode,
    message: string,
    { param = null, status = null }: { param?: string | null; status?: number | null } = {},
  ) {
    super(message);
    this.name = 'Refusal';
    this.code = code;
    this.param = param;
    this.status = status;
  }
}

/** A refusal of the request in a line, which the API answers with status 400. */
export function badRequest(code: RefusalCode, message: string, param: string | null): Refusal {
  return new Refusal(code, message, { param, status: 400 });
}
