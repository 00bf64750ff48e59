/**
 * A proxy for names that no server has, and a server that speaks TLS in front of one that does not. Its key
 * protects nothing: it is made for `hub.test` and `storage.test`, and only tests trust it.
 */

import { createServer, type IncomingMessage, request } from 'node:http';
import { connect, type Server, type Socket } from 'node:net';
import { after } from 'node:test';
import { createServer as createTlsServer } from 'node:tls';
import { listening } from './listening.ts';

const key = `
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgi1D4rGsIfMpV6kto
+4x3/TC+Rwz/QsU7CQa7DoB1rLuhRANCAAQ/rFCMo6UAVue76e0jfcHgvNqKQnu0
oqRZQji/wAi0zsi41N4kjjYtsza9HAOjvI0hvZ4FjAOuzMWiyV5YKwcD
-----END PRIVATE KEY-----
`;

/** For NODE_EXTRA_CA_CERTS. */
export const certificate = `
-----BEGIN CERTIFICATE-----
MIIBqTCCAVCgAwIBAgIUMNUkJXbZ0E+rWL6w0cguGsuP6RIwCgYIKoZIzj0EAwIw
GDEWMBQGA1UEAwwNZmxhc2hsbG0gdGVzdDAgFw0yNjExMjcwNzE0MDlaGA8yMTI2
MTEwMzA3MTQwOVowGDEWMBQGA1UEAwwNZmxhc2hsbG0gdGVzdDBZMBMGByqGSM49
AgEGCCqGSM49AwEHA0IABD+sUIyjpQBW57vp7SN9weC82opCe7SipFlCOL/ACLTO
yLjU3iSONi2zNr0cA6O8jSG9ngWMA67MxaLJXlgrBwOjdjB0MB0GA1UdDgQWBBSC
Y17oMrzD3oO4TPxG71CClA1jFjAfBgNVHSMEGDAWgBSCY17oMrzD3oO4TPxG71CC
lA1jFjAPBgNVHRMBAf8EBTADAQH/MCEGA1UdEQQaMBiCCGh1Yi50ZXN0ggxzdG9y
YWdlLnRlc3QwCgYIKoZIzj0EAwIDRwAwRAIgYfjXdnXzixjeI0KRF/5xZ1eSOZmE
+Nmh82xUGU1G5fkCIEdfWLyP0e2wl2ubDpMf06h4b3t+9ZnychQTFTcFDduN
-----END CERTIFICATE-----
`;

/** Where a name leads: a port of this machine, behind TLS or not. */
export type Names = ReadonlyMap<string, { readonly port: number }>;

export class TestProxy {
  /** What was asked for: `CONNECT hub.test:443`, `GET http://hub.test/...`. */
  readonly seen: string[] = [];
  readonly #names: () => Names;
  readonly #sockets = new Set<Socket>();
  readonly #servers: Server[] = [];

  /** Call it once, outside of any test. @param names is asked at each request */
  constructor(names: () => Names) {
    this.#names = names;
    after(() => {
      for (const socket of this.#sockets) socket.destroy();
      for (const server of this.#servers) server.close();
    });
  }

  /** Starts it; who does not give this `user:password`, written as in an address, is refused. */
  async start(login: string): Promise<string> {
    const wanted = `Basic ${Buffer.from(decodeURIComponent(login)).toString('base64')}`;
    const knows = ({ headers, method, url }: IncomingMessage) => {
      this.seen.push(`${method} ${url}`);
      return headers['proxy-authorization'] === wanted;
    };
    const server = createServer((asked, response) => {
      const url = new URL(asked.url ?? '');
      const to = this.#names().get(url.hostname);
      if (!knows(asked) || to === undefined) {
        response.writeHead(407).end();
        return;
      }
      const { 'proxy-authorization': _, ...headers } = asked.headers;
      const path = `${url.pathname}${url.search}`;
      request({ host: '127.0.0.1', port: to.port, path, headers }, (answer) => {
        response.writeHead(answer.statusCode ?? 502, answer.headers);
        answer.pipe(response);
      }).end();
    });
    server.on('connect', (asked, socket: Socket) => {
      const to = this.#names().get(asked.url?.split(':')[0] ?? '');
      if (!knows(asked) || to === undefined) {
        socket.end('HTTP/1.1 407 Proxy Authentication Required\r\n\r\n');
        return;
      }
      socket.write('HTTP/1.1 200 OK\r\n\r\n');
      this.#join(socket, connect(to.port, '127.0.0.1'));
    });
    return `http://${login}@127.0.0.1:${await this.#listen(server)}`;
  }

  /** A port at which TLS is spoken for the server at `port`. */
  secured(port: () => number): Promise<number> {
    return this.#listen(
      createTlsServer({ key, cert: certificate }, (socket) =>
        this.#join(socket, connect(port(), '127.0.0.1')),
      ),
    );
  }

  #listen(server: Server): Promise<number> {
    this.#servers.push(server);
    return listening(server);
  }

  #join(one: Socket, other: Socket): void {
    for (const [from, to] of [
      [one, other],
      [other, one],
    ] as const) {
      this.#sockets.add(from);
      from.on('error', () => to.destroy()).on('close', () => to.destroy());
      from.pipe(to);
    }
  }
}
