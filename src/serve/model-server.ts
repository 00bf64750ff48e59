/** A loaded model behind HTTP, with OpenAI's API. */

import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { conversationBytes } from '../chat/chat.ts';
import { type ChatTemplates, templatesIfAny } from '../chat/chat-templates.ts';
import type { RunRequest } from '../engine/run-request.ts';
import type { Runtime } from '../engine/runtime.ts';
import type { Drafter } from '../engine/speculation/draft.ts';
import { InputError } from '../errors.ts';
import { grammarBytes } from '../grammar/grammars.ts';
import { answererOf } from '../openai/answerer.ts';
import { MIB } from '../units.ts';
import { ChatEndpoint } from './chat-endpoint.ts';
import { CompletionsEndpoint } from './completions-endpoint.ts';
import type { ServerStats } from './figures.ts';
import { Gate, type GateOptions } from './gate.ts';
import { RequestHandler } from './handler.ts';
import { usualQueue } from './job-queue.ts';
import { allBodies, BodyReader, memoryPerBodyByte } from './read-body.ts';
import { ModelService } from './service.ts';

export interface ServeOptions extends GateOptions {
  /** The options of the runtime that affect the generated text. */
  readonly request: Pick<RunRequest, 'ffn' | 'kvDtype'>;
  /** Requests that may wait for a sequence, 64 by default; more are refused with status 429. */
  readonly queue?: number;
  /** Proposes tokens for all answers; whoever opened it closes it after the server. */
  readonly draft?: Drafter | undefined;
  /** Chat templates instead of the model's own. */
  readonly templates?: ChatTemplates | undefined;
  /** Whether JSON schemas and forced tool calls are supported; true by default. */
  readonly grammars?: boolean;
  /** Receives one line for each request, without any of its text. */
  readonly log?: (line: string) => void;
}

/** Node's HTTP server, connections and their buffers. */
const connectionBytes = 10 * MIB;
/** Memory of an answer while it is generated: its text and its parts. */
const bytesPerPosition = 512;
const bytesPerId = 8;

/**
 * Bytes that a server takes in addition to the model, to be given to the plan as `ownBytes`: templates,
 * waiting requests, connections, and the grammar engine if grammars are enabled.
 */
export function serveBytes(
  { context, sequences = 1 }: Pick<RunRequest, 'context' | 'sequences'>,
  vocabSize: number,
  { queue = usualQueue, grammars = true }: Pick<ServeOptions, 'queue' | 'grammars'> = {},
): number {
  return (
    conversationBytes(context) +
    connectionBytes +
    allBodies * memoryPerBodyByte +
    (sequences + queue) * context * bytesPerId +
    sequences * context * bytesPerPosition +
    (grammars ? grammarBytes(vocabSize) : 0)
  );
}

/** Limits of connections, in milliseconds and counts. */
const limits = {
  headersTimeout: 10_000,
  requestTimeout: 30_000,
  keepAliveTimeout: 15_000,
  connectionsCheckingInterval: 5_000,
  maxHeaderSize: 16 * 1024,
};
/** Time that a refused client has to read the answer, in milliseconds. */
const lingerMs = 1000;
/** Connections in addition to those of requests that are being answered or wait. */
const spareConnections = 256;

/**
 * Answers requests of OpenAI's API with the sequences of a runtime.
 *
 *     const runtime = await Runtime.open(model, { ...request, ownBytes: serveBytes(request, vocabSize) });
 *     const server = await ModelServer.create(runtime, { request });
 *     const { port } = await server.listen({ host: '127.0.0.1', port: 8080 });
 *     ...
 *     await server.drain(30_000);
 *
 * `server.handler` is a request handler for use in another HTTP server.
 */
export class ModelServer {
  /** Answers one request; for `http.createServer`, or a framework's raw requests. */
  readonly handler: (request: IncomingMessage, response: ServerResponse) => void;
  readonly #service: ModelService;
  readonly #requests: RequestHandler;
  readonly #mostConnections: number;
  /** Requests under way, with their responses. */
  readonly #busy = new Map<Promise<void>, ServerResponse>();
  #server: Server | null = null;

  private constructor(
    service: ModelService,
    templates: ChatTemplates | null,
    options: ServeOptions,
  ) {
    this.#service = service;
    this.#requests = new RequestHandler({
      service,
      chat: new ChatEndpoint(service, templates),
      completions: new CompletionsEndpoint(service),
      gate: new Gate(options),
      bodies: new BodyReader(),
      log: options.log ?? (() => {}),
    });
    const { sequences } = service.runtime.plan.kvCache;
    this.#mostConnections = sequences + (options.queue ?? usualQueue) + spareConnections;
    this.handler = (request, response) => {
      const answered = this.#requests.handle(request, response);
      this.#busy.set(answered, response);
      void answered.finally(() => this.#busy.delete(answered));
    };
  }

  /** The statistics so far, as in `GET /stats`. */
  get stats(): ServerStats {
    return this.#service.figures.stats;
  }

  /** @throws InputError when the templates are invalid */
  static async create(runtime: Runtime, options: ServeOptions): Promise<ModelServer> {
    const { model, plan } = runtime;
    // The plan may have decided to compute every neuron.
    const decided = plan.choice?.sparse === false ? ({ ffn: 'exact' } as const) : {};
    const service = new ModelService(runtime, {
      answerer: answererOf(model, { ...options.request, ...decided }),
      queue: options.queue ?? usualQueue,
      grammars: options.grammars ?? true,
      draft: options.draft,
    });
    return new ModelServer(service, options.templates ?? (await templatesIfAny(model)), options);
  }

  /**
   * Opens a port; 0 takes one that is free.
   * @returns where it listens
   * @throws InputError when it cannot
   */
  async listen({ host, port }: { host: string; port: number }): Promise<AddressInfo> {
    const server = createServer({ ...limits, keepAlive: true }, this.handler);
    server.maxConnections = this.#mostConnections;
    server.on('clientError', (error, socket) => this.#refuse(error, socket));
    await new Promise<void>((resolve, reject) => {
      server.once('error', (error: NodeJS.ErrnoException) => {
        const taken = error.code === 'EADDRINUSE';
        const why = taken ? 'the port is in use' : error.message;
        const hint = taken ? 'Give another one with --port' : undefined;
        reject(new InputError(`cannot listen on ${host}:${port}: ${why}`, {}, hint));
      });
      server.listen(port, host, resolve);
    });
    this.#server = server;
    return server.address() as AddressInfo;
  }

  /** Ends a connection that sent something other than HTTP, or nothing in time. */
  #refuse({ code }: NodeJS.ErrnoException, socket: Duplex): void {
    // An answer that has begun cannot have another one in its middle.
    const begun = [...this.#busy.values()].some(
      ({ req, headersSent }) => req.socket === socket && headersSent,
    );
    if (begun || code === 'ECONNRESET' || !socket.writable) {
      socket.destroy();
      return;
    }
    socket.end(`HTTP/1.1 ${statusOf(code)}\r\nConnection: close\r\n\r\n`);
    // The client may never close its side. Ended at once, it might not get to read the answer.
    setTimeout(() => socket.destroy(), lingerMs).unref();
  }

  /**
   * Refuses new requests, and returns when those under way are answered, or after `mostMs` milliseconds,
   * when the remaining ones are aborted.
   * @returns how many were aborted
   */
  async drain(mostMs: number): Promise<number> {
    this.#requests.draining = true;
    const closed = new Promise((resolve) =>
      this.#server === null ? resolve(null) : this.#server.close(resolve),
    );
    this.#server?.closeIdleConnections();
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise((resolve) => {
      timer = setTimeout(resolve, mostMs);
    });
    const idle = async () => {
      while (this.#busy.size > 0) await Promise.all(this.#busy.keys());
    };
    await Promise.race([idle(), late]);
    clearTimeout(timer);
    const broken = this.#busy.size;
    await this.close();
    await closed;
    return broken;
  }

  /** Ends at once; requests under way are aborted. */
  async close(): Promise<void> {
    this.#requests.draining = true;
    this.#requests.breakOff();
    // Aborted requests still tell their clients.
    await Promise.race([
      Promise.all(this.#busy.keys()),
      new Promise((resolve) => setTimeout(resolve, 1000).unref()),
    ]);
    this.#server?.close();
    this.#server?.closeAllConnections();
    await this.#service.close();
  }
}

/** The status line for input that is not valid HTTP. */
function statusOf(code: string | undefined): string {
  if (code === 'HPE_HEADER_OVERFLOW') return '431 Request Header Fields Too Large';
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') return '408 Request Timeout';
  return '400 Bad Request';
}
