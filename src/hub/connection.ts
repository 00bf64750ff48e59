/**
 * Requests to the hub. Redirects are followed by hand: the token goes to the hub's own origin alone, and
 * nothing leads from https to http. What comes back is taken for hostile: nothing is read without a limit.
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

/** An answer with what was asked for: status 200, or 206 with the bytes of a range. */
export interface Answer {
  readonly status: 200 | 206;
  readonly headers: IncomingMessage['headers'];
  /** Where it came from, fit to be shown. */
  readonly from: string;
  /** Pieces as they come. @throws TransientError when the connection breaks or stalls */
  readonly body: AsyncGenerator<Buffer, void, void>;
  /** Drops what is not read. */
  drop(): void;
}

const mostRedirects = 10;
const redirects: readonly number[] = [301, 302, 303, 307, 308];
/** Those that say "not now". */
const passing: readonly number[] = [408, 425, 429, 500, 502, 503, 504, 520, 522, 524];
/** A redirect's text that is read, so that its connection can be used again. */
const mostDrainedBytes = 64 * 1024;
/** Less than this within `stallMs` is a connection that has stalled. */
const leastBytes = 4 * 1024;

/** Failures of TLS, which do not pass. */
const distrust = /^(CERT_|ERR_TLS_|ERR_SSL_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_)/;

export class HubConnection {
  readonly endpoint: URL;
  readonly timing: HubTiming;
  readonly signal: AbortSignal;
  readonly #token: string | null;
  readonly #stopped = new AbortController();
  /** Of each protocol, and of each proxy for https. */
  readonly #agents = new Map<string, HttpAgent | HttpsAgent>();

  constructor({ address, signal, timing }: ConnectionOptions) {
    this.endpoint = address.endpoint;
    this.#token = address.token;
    const { signal: own } = this.#stopped;
    this.signal = signal === undefined ? own : AbortSignal.any([signal, own]);
    // Each request and each pause listens to it.
    setMaxListeners(0, this.signal);
    this.timing = { ...usualTiming, ...timing };
  }

  /** Ends all that is under way, and lets nothing begin. */
  stop(): void {
    this.#stopped.abort();
  }

  /** Closes connections that are kept for later. */
  close(): void {
    for (const agent of this.#agents.values()) agent.destroy();
  }

  /** Counts the failures of one piece of work. @param what is asked for, for messages */
  patience(what: string, attempts = this.timing.attempts): Patience {
    return new Patience({ ...this.timing, attempts }, this.signal, what);
  }

  /**
   * Asks once for `path` on the hub, whole or in part.
   * @throws TransientError when it may be had later; InputError when it may not be had; IoError when the
   * server cannot be trusted
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
   * The whole answer to a request, tried again where that may help.
   * @param most bytes
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
          throw new IoError(`sends more than the ${most} bytes that are read`, { file: from });
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
      // Lengths and ranges are those of the file.
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
        sent.setTimeout(stallMs, () => sent?.destroy(new Error('no data for a while')));
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

/** A request that the proxy makes in our place. */
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
    `redirects to '${withoutSecrets(location)}', which is not followed`,
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

/** An error of the network as one that may pass, or, where it will not, as what is wrong. */
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
  // Of several addresses that were tried, Node gives an error without a message.
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
  if (status === 416) return new IoError('does not have the bytes that it lists', file);
  return new IoError(`answers with status ${status}`, file, 'Check HF_ENDPOINT');
}

/** Milliseconds that a `Retry-After` header asks for: seconds, or a date. */
function retryAfter(value: string | undefined): number | null {
  if (value === undefined) return null;
  const ms = /^\d+$/.test(value) ? Number(value) * 1000 : Date.parse(value) - Date.now();
  return Number.isNaN(ms) ? null : Math.max(0, ms);
}
