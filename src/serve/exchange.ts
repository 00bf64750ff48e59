/** One request and its answer, as endpoints see them. */

import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Body } from '../openai/fields.ts';

/** How long a client may leave data unread before it is disconnected, in milliseconds. */
export const stallMs = 60_000;

export interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** Aborts when the client disconnects, or the server stops. */
  readonly signal: AbortSignal;
  /** The id of the request: 24 hexadecimal digits. */
  readonly id: string;
  /** The JSON object of the body. @throws Refusal */
  readonly body: () => Promise<Body>;
  /** Further parts of the log line, such as token counts. */
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
  // The next answer on the same connection may take longer to generate.
  response.prependOnceListener('finish', () => response.socket?.setTimeout(0));
  response.writeHead(status, { 'content-type': type, 'content-length': bytes.length });
  response.end(response.req.method === 'HEAD' ? undefined : bytes);
}
