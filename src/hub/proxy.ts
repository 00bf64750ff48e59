/** Proxies from the environment: `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY`. */

import { request } from 'node:http';
import { type AgentOptions, Agent as HttpsAgent } from 'node:https';
import type { Duplex } from 'node:stream';
import { connect } from 'node:tls';
import { InputError, IoError } from '../errors.ts';
import { withoutSecrets } from './address.ts';

/**
 * The proxy for requests to `url`; null: none.
 * @throws InputError when the environment names something other than an HTTP proxy
 */
export function proxyOf(url: URL, environment: NodeJS.ProcessEnv = process.env): URL | null {
  const named = (name: string) => environment[name.toLowerCase()] || environment[name];
  const scheme = url.protocol === 'https:' ? 'HTTPS_PROXY' : 'HTTP_PROXY';
  const text = named(scheme) ?? named('ALL_PROXY');
  if (text === undefined || isExempt(url, named('NO_PROXY') ?? '')) return null;
  const written = text.includes('://') ? text : `http://${text}`;
  const proxy = URL.canParse(written) ? new URL(written) : null;
  if (proxy?.protocol === 'http:') return proxy;
  throw new InputError(
    `${scheme} or ALL_PROXY is not the address of an HTTP proxy: '${withoutSecrets(text)}'`,
    {},
    'Set it to an address such as http://proxy:3128, or unset it',
  );
}

/** This machine's own addresses. */
const loopback = /^(localhost|.*\.localhost|127\.\d+\.\d+\.\d+|\[::1\])$/;

/**
 * Whether `list` contains the host or a domain that it belongs to, with or without a port; `*` matches every
 * host. This machine itself never uses a proxy.
 */
function isExempt({ hostname, port, protocol }: URL, list: string): boolean {
  if (loopback.test(hostname)) return true;
  const usual = protocol === 'https:' ? '443' : '80';
  return list
    .toLowerCase()
    .split(/[\s,]+/)
    .filter((entry) => entry !== '')
    .some((entry) => {
      if (entry === '*') return true;
      const [, name = '', at] = /^\*?\.?(.*?)(?::(\d+))?$/.exec(entry) ?? [];
      if (at !== undefined && at !== (port || usual)) return false;
      return hostname === name || hostname.endsWith(`.${name}`);
    });
}

/** The address of a proxy, without its user and password, which the server behind it must not see. */
export function addressOf({ hostname, port }: URL): { host: string; port: string } {
  return { host: hostname.replace(/^\[|\]$/g, ''), port: port || '80' };
}

/** The authorisation headers for a proxy. */
export function proxyHeaders({ username, password }: URL): Record<string, string> {
  if (username === '') return {};
  const pair = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  return { 'proxy-authorization': `Basic ${Buffer.from(pair).toString('base64')}` };
}

/** The error when a proxy refuses a connection: because of the user and password, or of the target. */
export function proxyRefusal(status: number | undefined, proxy: URL): IoError {
  return new IoError(
    `the proxy refuses the connection (status ${status})`,
    { file: withoutSecrets(proxy) },
    'Check HTTPS_PROXY and HTTP_PROXY, user and password included, or name the hub in NO_PROXY',
  );
}

/** The longest wait for a proxy to open a tunnel, in milliseconds. */
const silentMs = 30_000;

type Connected = (error: Error | null, socket?: Duplex) => void;

/** The target of a tunnel, as Node passes it to an agent. */
interface Destination {
  readonly host?: string | null;
  readonly port?: number | string | null;
  readonly servername?: string;
}

/** Connections through a tunnel: the proxy forwards encrypted data. */
export class TunnelAgent extends HttpsAgent {
  readonly #proxy: URL;

  constructor(proxy: URL, options: AgentOptions) {
    super(options);
    this.#proxy = proxy;
  }

  override createConnection(destination: Destination, connected: Connected): undefined {
    const host = destination.host ?? 'localhost';
    const target = `${host.includes(':') ? `[${host}]` : host}:${destination.port ?? 443}`;
    const asked = request({
      ...addressOf(this.#proxy),
      method: 'CONNECT',
      path: target,
      headers: { host: target, ...proxyHeaders(this.#proxy) },
      agent: false,
    });
    asked.once('connect', ({ statusCode }, socket) => {
      socket.setTimeout(0);
      if (statusCode === 200) {
        const servername = destination.servername ?? host;
        connected(null, connect({ ...this.options, socket, servername }));
        return;
      }
      socket.destroy();
      connected(proxyRefusal(statusCode, this.#proxy));
    });
    asked.once('response', (response) => {
      response.destroy();
      connected(proxyRefusal(response.statusCode, this.#proxy));
    });
    asked.setTimeout(silentMs, () => asked.destroy(new Error('the proxy does not answer')));
    asked.once('error', connected);
    asked.end();
  }
}
