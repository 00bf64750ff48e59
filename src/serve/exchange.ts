/** One request and its answer, as endpoints see them. */

import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Body } from '../openai/fields.ts';

/** How long a client may read nothing of what it is sent, in milliseconds; then it is given up. */
export const stallMs = 60_000;

export interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** Aborts when the client has left, or the server ends. */
  readonly signal: AbortSignal;
  /** 24 hexadecimal digits that name it. */
  readonly id: string;
  /** The JSON object of the body. @throws Refusal */
  readonly body: () => Promise<Body>;
  /** What the log says of it besides, such as counts of tokens. */
  readonly notes: string[];
}

/** Answers with JSON. */
export function sendJson(response: ServerResponse, status: number, value: object): void {
  sendText(response, status, 'application/json; charset=utf-8', `${JSON.stringify(value)}\n`);
}

/** Answers with a text of some type. */
export function sendText(
  response: ServerResponse,
  status: number,
  type: string,
  text: string | Uint8Array,
): void {
  const bytes = typeof text === 'string' ? Buffer.from(text) : text;
  response.setTimeout(stallMs, () => response.destroy());
  response.writeHead(status, { 'content-type': type, 'content-length': bytes.length });
  response.end(response.req.method === 'HEAD' ? undefined : bytes);
}
