/**
 * Access control. Every page in a browser can reach a server on the same machine, so requests for another
 * host name or from another origin are refused unless they are allowed.
 */

import { createHash, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { isIP } from 'node:net';
import { Refusal } from '../openai/refusal.ts';

export interface GateOptions {
  /** The key that clients must send as `Authorization: Bearer`; undefined: no key. */
  readonly apiKey?: string | undefined;
  /** Host names that requests may be for, besides localhost and IP addresses; `*`: every name. */
  readonly allowHosts?: readonly string[] | undefined;
  /** Origins of pages that may send requests, such as `https://app.example`; `*`: every origin. */
  readonly allowOrigins?: readonly string[] | undefined;
}

export class Gate {
  readonly #key: Buffer | null;
  readonly #hosts: ReadonlySet<string>;
  readonly #origins: ReadonlySet<string>;

  constructor({ apiKey, allowHosts = [], allowOrigins = [] }: GateOptions) {
    this.#key = apiKey === undefined ? null : digest(apiKey);
    this.#hosts = new Set(allowHosts.map((host) => host.toLowerCase()));
    this.#origins = new Set(allowOrigins.map((origin) => origin.toLowerCase().replace(/\/$/, '')));
  }

  /** @throws Refusal when the request is for a host name that is not allowed */
  checkHost({ headers }: IncomingMessage): void {
    const host = headers.host ?? '';
    const name = hostName(host);
    // Unlike a name, an IP address cannot be rebound to another machine.
    const known = name === 'localhost' || isIP(name.replace(/^\[|\]$/g, '')) !== 0;
    if (known || this.#hosts.has('*') || this.#hosts.has(name)) return;
    throw new Refusal(
      'forbidden_host',
      `requests for the host ${JSON.stringify(name.slice(0, 80))} are refused: allow it with --allow-host`,
      { status: 403 },
    );
  }

  /**
   * @param navigable whether another site may link to this path
   * @returns the origin that the answer must name, if the request comes from another origin; else null
   * @throws Refusal when the request comes from an origin that is not allowed
   */
  checkOrigin({ headers }: IncomingMessage, navigable: boolean): string | null {
    const { origin, host, 'sec-fetch-site': site } = headers;
    const forbidden = (from: string) =>
      new Refusal(
        'forbidden_origin',
        `requests from pages of ${from} are refused: allow them with --allow-origin`,
        { status: 403 },
      );
    if (origin === undefined) {
      const foreign = site === 'cross-site' || site === 'same-site';
      if (foreign && !navigable) throw forbidden('other sites');
      return null;
    }
    if (/^https?:\/\//.test(origin) && origin.replace(/^https?:\/\//, '') === host) return null;
    if (this.#origins.has('*') || this.#origins.has(origin.toLowerCase())) return origin;
    throw forbidden(JSON.stringify(origin.slice(0, 80)));
  }

  /** @throws Refusal without the right key; the comparison takes constant time */
  checkKey({ headers }: IncomingMessage): void {
    if (this.#key === null) return;
    const [kind = '', ...words] = (headers.authorization ?? '').split(' ');
    const given = kind.toLowerCase() === 'bearer' ? words.join(' ').trim() : '';
    if (timingSafeEqual(digest(given), this.#key)) return;
    throw new Refusal('invalid_api_key', 'the API key is missing or wrong', {
      status: 401,
      headers: { 'www-authenticate': 'Bearer' },
    });
  }
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}

/** The name in a `Host` header, without the port. */
function hostName(host: string): string {
  return host.toLowerCase().replace(/:\d*$/, '').replace(/\.$/, '');
}
