/** Servers for tests. */

import type { AddressInfo, Server } from 'node:net';

/** The port of this machine on which `server` listens from now on. */
export async function listening(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return (server.address() as AddressInfo).port;
}
