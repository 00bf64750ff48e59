/** Errors that are the request's fault, not the server's. */

/**
 * Error codes, OpenAI's own where it has one. Those of the first group concern lines of a batch that are not
 * valid requests; the others are answered with an HTTP status.
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
  /** The field of the request's body that the error concerns. */
  readonly param: string | null;
  /** The HTTP status of the answer; null for a line that is not a request. */
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

  /** The value of `error` in the answer's body. */
  get error(): Readonly<Record<string, string | null>> {
    const { message, param, code } = this;
    const type = typesOfError[this.status ?? 400] ?? 'invalid_request_error';
    return { message, type, param, code };
  }
}

/** Error types by status; all other errors are invalid requests. */
const typesOfError: Readonly<Record<number, string>> = {
  401: 'authentication_error',
  403: 'permission_error',
  429: 'rate_limit_error',
  503: 'server_error',
};

/** A refusal with status 400. */
export function badRequest(code: RefusalCode, message: string, param: string | null): Refusal {
  return new Refusal(code, message, { param, status: 400 });
}
