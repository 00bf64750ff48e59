/** Why a request is answered with an error: nothing is wrong with who answers. */

/**
 * OpenAI's words where it has one. Of the first group, which are lines of a batch, nobody knows which
 * request the line is; what is wrong with the others is answered with an HTTP status.
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
  | 'invalid_prompt'
  | 'invalid_json'
  | 'unsupported_media_type'
  | 'body_too_large'
  | 'model_not_found'
  | 'invalid_api_key'
  | 'forbidden_host'
  | 'forbidden_origin'
  | 'queue_full'
  | 'shutting_down';

export class Refusal extends Error {
  readonly code: RefusalCode;
  /** The field of the request's body that it is about. */
  readonly param: string | null;
  /** The HTTP status that the API answers; null for a line that is no request. */
  readonly status: number | null;
  /** Headers that belong to the answer, such as Retry-After. */
  readonly headers: Readonly<Record<string, string>>;

  constructor(
    code: RefusalCode,
    message: string,
    {
      param = null,
      status = null,
      headers = {},
    }: {
      param?: string | null;
      status?: number | null;
      headers?: Readonly<Record<string, string>>;
    } = {},
  ) {
    super(message);
    this.name = 'Refusal';
    this.code = code;
    this.param = param;
    this.status = status;
    this.headers = headers;
  }

  /** What the API says of it, under the key `error` of a body. */
  get error(): Readonly<Record<string, string | null>> {
    const { message, param, code } = this;
    const type = typesOfError[this.status ?? 400] ?? 'invalid_request_error';
    return { message, type, param, code };
  }
}

/** Types of errors by status; all others are of an invalid request. */
const typesOfError: Readonly<Record<number, string>> = {
  401: 'authentication_error',
  403: 'permission_error',
  429: 'rate_limit_error',
  503: 'server_error',
};

/** A refusal of what a request asks for, which the API answers with status 400. */
export function badRequest(code: RefusalCode, message: string, param: string | null): Refusal {
  return new Refusal(code, message, { param, status: 400 });
}
