/**
 * Requests to the hub. This code follows redirects itself: the token goes only to the hub's own origin, and
 * no redirect may lead from https to http. Answers are not trusted: every read has a limit.
 */

import { setMaxListeners } from 'node:events';
import {
  type ClientRequest,
  Agent as HttpAgent,
  type IncomingMessage,
  type RequestOptions,
  request,
} from 'node:http';
import { Agent as HttpsAgent, request as secureRequest } from 'node:https';
import { FlashError, InputError, IoError } from '../errors.ts';
import { version } from '../version.ts';
import { type HubAddress, withoutSecrets } from './address.ts';
import { type HubTiming, Patience, patiently, TransientError, usualTiming } from './patience.ts';
import { addressOf, proxyHeaders, proxyOf, proxyRefusal, TunnelAgent } from './proxy.ts';

export interface ConnectionOptions {
  readonly address: HubAddress;
  readonly signal?: AbortSignal;
  readonly timing?: Partial<HubTiming>;
}

/** Bytes [from, to) of a file. */
export interface ByteRange {
  readonly from: number;
  readonly to: number;
}

/** A successful answer: status 200, or 206 with the bytes of a range. */
export interface Answer {
  readonly status: 200 | 206;
  readonly headers: IncomingMessage['headers'];
  /** The address it came from, without secrets. */
  readonly from: string;
  /** The body, piece by piece. @throws TransientError when the connection breaks or stalls */
  readonly body: AsyncGenerator<Buffer, void, void>;
  /** Discards the rest of the body. */
  drop(): void;
}

const mostRedirects = 10;
const redirects: readonly number[] = [301, 302, 303, 307, 308];
/** Statuses of temporary failures. */
const passing: readonly number[] = [408, 425, 429, 500, 502, 503, 504, 520, 522, 524];
/** The most bytes of a redirect's body that are read so that its connection can be reused. */
const mostDrainedBytes = 64 * 1024;
/** A connection that delivers fewer bytes than this within `stallMs` has stalled. */
const leastBytes = 4 * 1024;

/** TLS failures, which are permanent. */
const distrust = /^(CERT_|ERR_TLS_|ERR_SSL_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_)/;

export class HubConnection {
  readonly endpoint: URL;
  readonly timing: HubTiming;
  readonly signal: AbortSignal;
  readonly #token: string | null;
  readonly #stopped = new AbortController();
  /** One agent for each protocol, and for https one for each proxy. */
  readonly #agents = new Map<string, HttpAgent | HttpsAgent>();

  constructor({ address, signal, timing }: ConnectionOptions) {
    this.endpoint = address.endpoint;
    this.#token = address.token;
    const { signal: own } = this.#stopped;
    this.signal = signal === undefined ? own : AbortSignal.any([signal, own]);
    // Each request and each pause adds a listener.
    setMaxListeners(0, this.signal);
    this.timing = { ...usualTiming, ...timing };
  }

  /** Aborts all requests under way, and refuses new ones. */
  stop(): void {
    this.#stopped.abort();
  }

  /** Closes idle connections. */
  close(): void {
    for (const agent of this.#agents.values()) agent.destroy();
  }

  /** Counts the failures of one piece of work. @param what the requested file, for messages */
  patience(what: string, attempts = this.timing.attempts): Patience {
    return new Patience({ ...this.timing, attempts }, this.signal, what);
  }

  /**
   * Requests `path` on the hub once, whole or in part.
   * @throws TransientError when a later request may succeed; InputError when the path is not available; IoError
   * when the server cannot be trusted
   */
  async get(path: string, range?: ByteRange): Promise<Answer> {
    let url = new URL(`${this.endpoint.href.replace(/\/$/, '')}${path}`);
    for (let hop = 0; hop <= mostRedirects; hop++) {
      const response = await this.#request(url, range);
      const { statusCode: status = 0, headers } = response;
      if (redirects.includes(status) && headers.location !== undefined) {
        drain(response);
        url = redirected(url, headers.location);
        continue;
      }
      const from = withoutSecrets(url);
      const proxy = proxyOf(url);
      if (status === 407 && proxy !== null) {
        drain(response);
        throw proxyRefusal(status, proxy);
      }
      if (status !== 200 && status !== 206) {
        drain(response);
        throw refusal(status, headers, from, this.#token !== null);
      }
      const body = bodyOf(response, from, this.timing.stallMs);
      return { status, headers, from, body, drop: () => response.destroy() };
    }
    throw new IoError(`redirects more than ${mostRedirects} times`, {
      file: withoutSecrets(`${this.endpoint}${path}`),
    });
  }

  /**
   * The whole answer to a request, with retries after temporary failures.
   * @param most the most bytes of the answer
   * @throws as {@link get}; IoError when there are more bytes
   */
  async bytes(path: string, most: number, attempts?: number): Promise<Buffer> {
    const what = withoutSecrets(`${this.endpoint.origin}${path}`);
    return patiently(this.patience(what, attempts), async () => {
      const { body, from } = await this.get(path);
      const pieces: Buffer[] = [];
      let length = 0;
      for await (const piece of body) {
        length += piece.length;
        if (length > most) {
          throw new IoError(`sends more than the limit of ${most} bytes`, { file: from });
        }
        pieces.push(piece);
      }
      return Buffer.concat(pieces);
    });
  }

  #agentFor(protocol: string, proxy: URL | null): HttpAgent | HttpsAgent {
    const key = `${protocol} ${proxy?.href}`;
    const known = this.#agents.get(key);
    if (known !== undefined) return known;
    const kept = { keepAlive: true };
    const tunnelled = () => (proxy === null ? new HttpsAgent(kept) : new TunnelAgent(proxy, kept));
    const agent = protocol === 'https:' ? tunnelled() : new HttpAgent(kept);
    this.#agents.set(key, agent);
    return agent;
  }

  async #request(url: URL, range: ByteRange | undefined): Promise<IncomingMessage> {
    const { stallMs } = this.timing;
    const headers = {
      'user-agent': `flashllm/${version}`,
      // Without compression, so that lengths and ranges are those of the file.
      'accept-encoding': 'identity',
      ...(range && { range: `bytes=${range.from}-${range.to - 1}` }),
      ...(this.#token !== null &&
        url.origin === this.endpoint.origin && { authorization: `Bearer ${this.#token}` }),
    };
    const secure = url.protocol === 'https:';
    const proxy = proxyOf(url);
    const options = { headers, signal: this.signal, agent: this.#agentFor(url.protocol, proxy) };
    let sent: ClientRequest | undefined;
    const late = setTimeout(() => sent?.destroy(new Error('no answer')), stallMs);
    try {
      return await new Promise<IncomingMessage>((resolve, reject) => {
        if (secure) sent = secureRequest(url, options);
        else sent = proxy === null ? request(url, options) : throughProxy(url, proxy, options);
        sent.on('response', resolve).on('error', reject);
        sent.setTimeout(stallMs, () => sent?.destroy(new Error(`no data for ${stallMs} ms`)));
        sent.end();
      });
    } catch (error) {
      this.signal.throwIfAborted();
      throw networkError(error, withoutSecrets(url));
    } finally {
      clearTimeout(late);
    }
  }
}

/** A request that the proxy makes on our behalf. */
function throughProxy(url: URL, proxy: URL, options: RequestOptions): ClientRequest {
  const headers = { ...options.headers, host: url.host, ...proxyHeaders(proxy) };
  return request({ ...options, ...addressOf(proxy), headers, path: url.href });
}

function redirected(from: URL, location: string): URL {
  const to = URL.canParse(location, from.href) ? new URL(location, from) : null;
  const isWeb =
    to?.protocol === 'https:' || (to?.protocol === 'http:' && from.protocol === 'http:');
  if (to !== null && isWeb) return to;
  throw new IoError(
    `redirects to '${withoutSecrets(location)}', which is not allowed`,
    { file: withoutSecrets(from) },
    'Check HF_ENDPOINT, and proxies and firewalls between this machine and the hub',
  );
}

function drain(response: IncomingMessage): void {
  response.on('error', () => {});
  if (Number(response.headers['content-length'] ?? Infinity) <= mostDrainedBytes) response.resume();
  else response.destroy();
}

async function* bodyOf(
  response: IncomingMessage,
  from: string,
  stallMs: number,
): AsyncGenerator<Buffer, void, void> {
  let since = performance.now();
  let bytes = 0;
  try {
    for await (const piece of response as AsyncIterable<Buffer>) {
      bytes += piece.length;
      yield piece;
      const now = performance.now();
      if (now - since < stallMs) continue;
      if (bytes < leastBytes) throw new Error(`no more than ${bytes} bytes in ${stallMs} ms`);
      since = now;
      bytes = 0;
    }
  } catch (error) {
    throw networkError(error, from);
  }
}

/** A network error as a TransientError, or, if it is permanent, as an error that says what is wrong. */
function networkError(error: unknown, url: string): Error {
  if (error instanceof FlashError) return error;
  const { code = '', message } = error as NodeJS.ErrnoException;
  if (distrust.test(code)) {
    return new IoError(
      `is not trusted: ${message}`,
      { file: url },
      'Check the clock, and NODE_EXTRA_CA_CERTS where a proxy signs connections',
      { cause: error },
    );
  }
  // When Node has tried several addresses, its error has no message.
  const reason = code === '' ? message : message === '' ? code : `${code}, ${message}`;
  return new TransientError(`the connection failed (${reason})`, null, { cause: error });
}

function refusal(
  status: number,
  headers: IncomingMessage['headers'],
  url: string,
  hasToken: boolean,
): Error {
  const file = { file: url };
  if (passing.includes(status)) {
    const busy = status === 429 ? 'too many requests' : 'the server cannot answer now';
    return new TransientError(`${busy} (status ${status})`, retryAfter(headers['retry-after']));
  }
  if (status === 401 || status === 403) {
    return new InputError(
      `does not exist, or is not public (status ${status})`,
      file,
      hasToken
        ? 'Check the name, accept the terms on the model page, and check that HF_TOKEN has access'
        : 'Check the name; for a private model or one with terms, accept them on the model page and set HF_TOKEN',
    );
  }
  if (status === 404 || status === 410) {
    return new InputError(
      `does not exist (status ${status})`,
      file,
      'Check the name and the revision',
    );
  }
  if (status === 416) return new IoError('does not have the bytes that the hub lists', file);
  return new IoError(`answers with status ${status}`, file, 'Check HF_ENDPOINT');
}

/** The delay of a `Retry-After` header, which holds seconds or a date, in milliseconds. */
function retryAfter(value: string | undefined): number | null {
  if (value === undefined) return null;
  const ms = /^\d+$/.test(value) ? Number(value) * 1000 : Date.parse(value) - Date.now();
  return Number.isNaN(ms) ? null : Math.max(0, ms);
}
