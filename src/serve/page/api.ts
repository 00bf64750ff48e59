/** The requests that the page makes; all go to the server that it came from. */

import { eventsOf } from './events.ts';

export interface Message {
  readonly role: 'system' | 'user' | 'assistant';
  readonly content: string;
}

export interface Sampling {
  readonly temperature?: number;
  readonly topP?: number;
  readonly maxTokens?: number;
  readonly seed?: number;
}

/** A part of an answer as it comes. */
export interface Part {
  readonly text: string;
  readonly reasoning: string;
  /** Of the last part: why the answer ended. */
  readonly finish: string | null;
}

/** The server refused a request, or what came was not an answer. */
export class RequestFailed extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** `Authorization`, where the server wants a key. */
function authorisation(key: string): Record<string, string> {
  return key === '' ? {} : { authorization: `Bearer ${key}` };
}

/**
 * The JSON that GET gives at a path of the server.
 * @throws RequestFailed with the server's own words
 */
export async function get(path: string, key: string): Promise<unknown> {
  const response = await fetch(path, { headers: authorisation(key) });
  if (!response.ok) throw await failure(response);
  return response.json();
}

/**
 * An answer to a conversation, part by part.
 * @throws RequestFailed, or what `fetch` throws when it is aborted or the server is gone
 */
export async function* answer(
  model: string,
  messages: readonly Message[],
  { temperature, topP, maxTokens, seed }: Sampling,
  key: string,
  signal: AbortSignal,
): AsyncGenerator<Part> {
  const body = {
    model,
    messages,
    temperature,
    top_p: topP,
    max_tokens: maxTokens,
    seed,
    stream: true,
  };
  const response = await fetch('v1/chat/completions', {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...authorisation(key) },
    body: JSON.stringify(body),
    signal,
  });
  if (!response.ok || response.body === null) throw await failure(response);
  for await (const event of eventsOf(response.body)) yield partOf(event, response.status);
}

interface Chunk {
  readonly error?: { readonly message?: string };
  readonly choices?: readonly {
    readonly delta?: {
      readonly content?: string | null;
      readonly reasoning_content?: string | null;
    };
    readonly finish_reason?: string | null;
  }[];
}

function partOf(event: unknown, status: number): Part {
  const { error, choices } = event as Chunk;
  if (error !== undefined) throw new RequestFailed(status, error.message ?? 'the server failed');
  const choice = choices?.[0];
  return {
    text: choice?.delta?.content ?? '',
    reasoning: choice?.delta?.reasoning_content ?? '',
    finish: choice?.finish_reason ?? null,
  };
}

async function failure(response: Response): Promise<RequestFailed> {
  const text = await response.text();
  return new RequestFailed(response.status, errorMessage(text) ?? `HTTP status ${response.status}`);
}

function errorMessage(text: string): string | undefined {
  try {
    const { error } = JSON.parse(text) as { error?: { message?: string } };
    return error?.message;
  } catch {
    return undefined;
  }
}
