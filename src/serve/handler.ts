/** Routes requests to endpoints, and turns errors into answers. */

import { randomBytes } from 'node:crypto';
import { setMaxListeners } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { Refusal } from '../openai/refusal.ts';
import { createdNow } from '../openai/usage.ts';
import { shown } from '../plain-text.ts';
import type { ChatEndpoint } from './chat-endpoint.ts';
import type { CompletionsEndpoint } from './completions-endpoint.ts';
import { errorObject, refusalOf, shuttingDown } from './errors.ts';
import { type Exchange, sendJson, sendText } from './exchange.ts';
import type { Gate } from './gate.ts';
import { pageFiles, pageHeaders } from './page-files.ts';
import type { BodyReader } from './read-body.ts';
import type { ModelService } from './service.ts';

interface Route {
  readonly method: 'GET' | 'POST';
  /** Whether the route needs no key. */
  readonly open?: boolean;
  /** Whether another site may link to it. */
  readonly navigable?: boolean;
  readonly answer: (exchange: Exchange) => void | Promise<void>;
}

export interface HandlerParts {
  readonly service: ModelService;
  readonly chat: ChatEndpoint;
  readonly completions: CompletionsEndpoint;
  readonly gate: Gate;
  readonly bodies: BodyReader;
  /** Receives one line for each request. */
  readonly log: (line: string) => void;
}

const prometheusText = 'text/plain; version=0.0.4; charset=utf-8';

export class RequestHandler {
  /** Whether new requests are refused because the server is stopping. */
  draining = false;
  readonly #parts: HandlerParts;
  /** One for each request under way. */
  readonly #underWay = new Set<AbortController>();
  readonly #routes: ReadonlyMap<string, Route>;
  readonly #created = createdNow();

  constructor(parts: HandlerParts) {
    this.#parts = parts;
    this.#routes = new Map(this.#endpoints());
  }

  /** Answers a request; never throws. */
  async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const started = performance.now();
    const from = request.socket.remoteAddress ?? '-';
    const { socket } = request;
    // Not AbortSignal.any: a long-lived signal would keep a reference to that of each request.
    const stop = new AbortController();
    this.#underWay.add(stop);
    let hasLeft = false;
    const leave = () => {
      hasLeft = true;
      stop.abort();
    };
    const closed = new Promise<void>((resolve) => {
      const close = () => {
        socket.off('close', close);
        if (!response.writableFinished) leave();
        resolve();
      };
      response.on('close', close);
      // A response that waits behind another one on the same connection gets no 'close' event.
      socket.setMaxListeners(0).on('close', close);
    });
    response.on('error', leave);
    const id = randomBytes(12).toString('hex');
    const path = pathOf(request);
    const { signal } = stop;
    // Each answer adds a listener.
    setMaxListeners(0, signal);
    const exchange: Exchange = {
      ...{ request, response, id, signal },
      body: () => this.#parts.bodies.read(request),
      notes: [],
    };
    response.setHeader('x-request-id', `req_${id}`);
    response.setHeader('x-content-type-options', 'nosniff');
    try {
      await this.#answer(exchange, path);
    } catch (error) {
      this.#fail(exchange, error, hasLeft);
    }
    await closed;
    this.#underWay.delete(stop);
    const endpoint = this.#nameOf(path);
    // 499 as in other servers: the client disconnected before there was an answer.
    const status = response.headersSent ? response.statusCode : 499;
    if (hasLeft) exchange.notes.push('the client disconnected');
    this.#parts.service.figures.answered(endpoint, status);
    const time = `${Math.round(performance.now() - started)} ms`;
    const notes = [`${status}`, ...exchange.notes, time].join(', ');
    this.#parts.log(`${from} ${shown(request.method ?? '-', 20)} ${endpoint} ${notes}`);
  }

  /** Aborts all requests under way. */
  breakOff(): void {
    for (const stop of this.#underWay) stop.abort();
  }

  #answer(exchange: Exchange, path: string): void | Promise<void> {
    const { request, response } = exchange;
    const { gate } = this.#parts;
    const route = this.#route(path);
    gate.checkHost(request);
    const origin = gate.checkOrigin(request, route?.navigable ?? false);
    response.setHeader('vary', 'origin');
    if (origin !== null) {
      response.setHeader('access-control-allow-origin', origin);
      response.setHeader('access-control-expose-headers', 'x-request-id, retry-after');
    }
    if (request.method === 'OPTIONS' && origin !== null) {
      preflight(exchange);
      return;
    }
    if (route?.open !== true) gate.checkKey(request);
    if (this.draining) throw shuttingDown();
    if (route === undefined) {
      const message = `there is no endpoint ${shown(path, 80)}: use /v1/chat/completions, /v1/completions or /v1/models`;
      throw new Refusal('invalid_url', message, { status: 404 });
    }
    const method = request.method === 'HEAD' ? 'GET' : request.method;
    if (method !== route.method) {
      const message = `${path} accepts ${route.method}, not ${shown(request.method ?? '', 20)}`;
      const headers = { allow: route.method };
      throw new Refusal('invalid_method', message, { status: 405, headers });
    }
    return route.answer(exchange);
  }

  /** Answers with an error, if the client is still there. */
  #fail({ request, response, notes }: Exchange, error: unknown, left: boolean): void {
    const refusal = refusalOf(error);
    if (refusal === null) notes.push(shown(String(error), 400));
    else if (!left) notes.push(refusal.code);
    if (left) return;
    if (response.headersSent) {
      response.end();
      return;
    }
    // The unread rest of a body would be taken for the next request.
    if (!request.complete) response.setHeader('connection', 'close');
    for (const [name, value] of Object.entries(refusal?.headers ?? {})) {
      response.setHeader(name, value);
    }
    sendJson(response, refusal?.status ?? 500, { error: errorObject(error) });
  }

  #route(path: string): Route | undefined {
    return this.#routes.get(path.startsWith('/v1/models/') ? '/v1/models/' : path);
  }

  /** The path as logs and counts show it: clients cannot add arbitrary names to them. */
  #nameOf(path: string): string {
    if (path.startsWith('/v1/models/')) return '/v1/models/';
    return this.#routes.has(path) ? path : 'unknown';
  }

  *#endpoints(): Generator<[string, Route]> {
    const { service, chat, completions } = this.#parts;
    const { figures, answerer } = service;
    for (const [path, { type, bytes }] of pageFiles()) {
      const answer = ({ response }: Exchange) => {
        for (const [name, value] of Object.entries(pageHeaders)) response.setHeader(name, value);
        sendText(response, 200, type, bytes);
      };
      yield [path, { method: 'GET', open: true, navigable: true, answer }];
    }
    const json = (value: () => object) => (exchange: Exchange) =>
      sendJson(exchange.response, 200, value());
    yield ['/health', { method: 'GET', open: true, answer: json(() => ({ status: 'ok' })) }];
    yield ['/stats', { method: 'GET', answer: json(() => figures.stats) }];
    const metrics = ({ response }: Exchange) =>
      sendText(response, 200, prometheusText, figures.metrics);
    yield ['/metrics', { method: 'GET', answer: metrics }];
    const model = () => ({
      id: answerer.model,
      object: 'model',
      created: this.#created,
      owned_by: 'flashllm',
    });
    yield [
      '/v1/models',
      { method: 'GET', answer: json(() => ({ object: 'list', data: [model()] })) },
    ];
    const oneModel = ({ request, response }: Exchange) => {
      const name = decoded(pathOf(request).slice('/v1/models/'.length));
      if (name === answerer.model) return sendJson(response, 200, model());
      const message = `the model ${shown(JSON.stringify(name), 80)} does not exist: this server has ${answerer.model}`;
      throw new Refusal('model_not_found', message, { status: 404, param: 'model' });
    };
    yield ['/v1/models/', { method: 'GET', answer: oneModel }];
    yield ['/v1/completions', { method: 'POST', answer: (each) => completions.answer(each) }];
    yield ['/v1/chat/completions', { method: 'POST', answer: (each) => chat.answer(each) }];
  }
}

/** The path of a request, without its query. */
function pathOf({ url = '/' }: IncomingMessage): string {
  return url.split('?')[0] ?? '/';
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** Answers a CORS preflight: an allowed origin may send any headers, as clients add their own. */
function preflight({ request, response }: Exchange): void {
  const asked = request.headers['access-control-request-headers'] ?? '';
  response.writeHead(204, {
    'access-control-allow-methods': 'GET, POST',
    'access-control-allow-headers': /^[\w, -]+$/.test(asked)
      ? asked
      : 'authorization, content-type',
    'access-control-max-age': '600',
  });
  response.end();
}
