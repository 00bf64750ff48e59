/** Errors as clients see them. */

import { InterruptedError } from '../errors.ts';
import { Refusal } from '../openai/refusal.ts';

/** The answer of a server that is shutting down. */
export function shuttingDown(): Refusal {
  return new Refusal('shutting_down', 'the server is shutting down: try again later', {
    status: 503,
    headers: { 'retry-after': '10' },
  });
}

/** An error in the form of the API; null for internal errors, whose reason clients do not see. */
export function refusalOf(error: unknown): Refusal | null {
  if (error instanceof Refusal) return error;
  return error instanceof InterruptedError ? shuttingDown() : null;
}

/** The value of `error` in an answer. */
export function errorObject(error: unknown): object {
  const failed = { message: 'the server failed; its log has the reason', type: 'server_error' };
  return refusalOf(error)?.error ?? { ...failed, param: null, code: 'internal_error' };
}
