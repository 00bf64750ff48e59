/** What clients are told of what went wrong. */

import { InterruptedError } from '../errors.ts';
import { Refusal } from '../openai/refusal.ts';

/** What a server answers that ends. */
export function shuttingDown(): Refusal {
  return new Refusal('shutting_down', 'the server is shutting down: try again later', {
    status: 503,
    headers: { 'retry-after': '10' },
  });
}

/** An error as something that the API can say; what is no request's fault keeps its reason to itself. */
export function refusalOf(error: unknown): Refusal | null {
  if (error instanceof Refusal) return error;
  return error instanceof InterruptedError ? shuttingDown() : null;
}

/** The value of `error` in an answer. */
export function errorObject(error: unknown): object {
  const failed = { message: 'the server failed: see its log', type: 'server_error' };
  return refusalOf(error)?.error ?? { ...failed, param: null, code: 'internal_error' };
}
