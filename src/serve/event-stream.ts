/** Server-sent events: sends parts of an answer as they are generated, to a client that may be slow or gone. */

import type { ServerResponse } from 'node:http';
import { stallMs } from './exchange.ts';

/** Interval in milliseconds of comments that keep an idle connection alive. */
const keepAliveMs = 10_000;
/** The most bytes, beyond the system's buffers, that a client may leave unread before it is disconnected. */
const mostUnread = 256 * 1024;

export class EventStream {
  readonly #response: ServerResponse;
  readonly #timer: NodeJS.Timeout;
  #spoke = false;
  /** When the client last read something, or had nothing to read. */
  #taken = performance.now();

  /** Sends the headers; from now on the status is 200. */
  constructor(response: ServerResponse) {
    this.#response = response;
    response.writeHead(200, {
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-cache, no-transform',
      'x-accel-buffering': 'no',
    });
    response.flushHeaders();
    response.on('drain', () => {
      this.#taken = performance.now();
    });
    this.#timer = setInterval(() => this.#tick(), keepAliveMs);
    response.on('close', () => clearInterval(this.#timer));
  }

  /** Sends an object. */
  send(event: object): void {
    this.#spoke = true;
    this.#write(`data: ${JSON.stringify(event)}\n\n`);
  }

  /** Ends the stream as the API does. */
  end(): void {
    clearInterval(this.#timer);
    this.#response.end('data: [DONE]\n\n');
  }

  /** Sends an error, and ends the stream. */
  fail(error: object): void {
    this.send({ error });
    clearInterval(this.#timer);
    this.#response.end();
  }

  #write(text: string): void {
    const response = this.#response;
    if (response.destroyed || response.writableEnded) return;
    if (response.write(text)) this.#taken = performance.now();
    if (response.writableLength > mostUnread) response.destroy();
  }

  #tick(): void {
    const isStalled = performance.now() - this.#taken > stallMs;
    if (this.#response.writableLength > 0 && isStalled) this.#response.destroy();
    else if (!this.#spoke) this.#write(': keep-alive\n\n');
    this.#spoke = false;
  }
}
