/** The endpoints that lines may name in `url`. */

import { brief, isJsonObject } from '../checkpoint/json-file.ts';
import type { Answerer } from '../openai/answerer.ts';
import { type Completion, completionBody } from '../openai/completion.ts';
import { type CompletionRequest, readCompletionRequest } from '../openai/completions.ts';
import type { Body, NeutralValues } from '../openai/fields.ts';
import { Refusal } from '../openai/refusal.ts';
import { own } from '../own.ts';

export interface Endpoint {
  /** What a body asks for. @throws Refusal */
  readonly read: (body: Body) => CompletionRequest;
  /** The object that answers it; `id` comes without the prefix that the API gives it. */
  readonly answer: (id: string, completion: Completion, by: Answerer) => object;
}

/** Fields that would change the result, and the value that asks for nothing. */
const notOfBatches: NeutralValues = {
  n: (value) => value === 1,
  best_of: (value) => value === 1,
  echo: (value) => value === false,
  stream: (value) => value === false,
  stream_options: () => false,
  logprobs: () => false,
  suffix: (value) => value === '',
  logit_bias: (value) => isJsonObject(value) && Object.keys(value).length === 0,
  presence_penalty: (value) => value === 0,
  frequency_penalty: (value) => value === 0,
};

const endpoints: Readonly<Record<string, Endpoint>> = {
  '/v1/completions': {
    read: (body) => readCompletionRequest(body, notOfBatches),
    answer: completionBody,
  },
};

/** Endpoints of the API that are not supported, and what to do. */
const unsupported: Readonly<Record<string, string>> = {
  '/v1/chat/completions':
    "send chats to 'serve', or write a chat's text, marks of turns included, into 'prompt' and use /v1/completions",
  '/v1/responses': "write a text into 'prompt' and use /v1/completions",
};

const notFound = { status: 404 };

/** The endpoint at `url`. @throws Refusal that names those that there are */
export function endpointAt(url: unknown): Endpoint {
  const name = typeof url === 'string' ? url : '';
  const endpoint = own(endpoints, name);
  if (endpoint !== undefined) return endpoint;
  const reason = own(unsupported, name);
  if (reason !== undefined) {
    throw new Refusal('unsupported_endpoint', `${name} is not supported: ${reason}`, notFound);
  }
  const all = Object.keys(endpoints).join(', ');
  throw new Refusal('invalid_url', `'url' must be ${all}, not ${brief(url)}`, notFound);
}
