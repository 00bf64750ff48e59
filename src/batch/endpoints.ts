/** The endpoints that lines may name in `url`. */

import { brief } from '../checkpoint/json-file.ts';
import type { Body } from '../openai/fields.ts';
import { Refusal } from '../openai/refusal.ts';
import { own } from '../own.ts';
import type { Call } from './call.ts';
import { chatCall } from './chat-call.ts';
import { completionCall } from './completion-call.ts';

/** Parses the body of a request. @throws Refusal that names the field at fault */
type Endpoint = (body: Body) => Call;

const endpoints: Readonly<Record<string, Endpoint>> = {
  '/v1/chat/completions': chatCall,
  '/v1/completions': completionCall,
};

/** Endpoints of the API that are not supported, and what to use instead. */
const unsupported: Readonly<Record<string, string>> = {
  '/v1/responses': 'write messages and use /v1/chat/completions',
};

const notFound = { status: 404 };

/** The endpoint at `url`. @throws Refusal that names the supported ones */
export function endpointAt(url: unknown): Endpoint {
  const name = typeof url === 'string' ? url : '';
  const endpoint = own(endpoints, name);
  if (endpoint !== undefined) return endpoint;
  const reason = own(unsupported, name);
  if (reason !== undefined) {
    throw new Refusal('unsupported_endpoint', `${name} is not supported: ${reason}`, notFound);
  }
  const all = Object.keys(endpoints).join(' or ');
  throw new Refusal('invalid_url', `'url' must be ${all}, not ${brief(url)}`, notFound);
}
