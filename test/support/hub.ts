/**
 * A server that speaks the API of the Hugging Face hub, and a second one that it sends large files' readers
 * to, as the hub does. Both can be told to misbehave.
 */

import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { join } from 'node:path';
import { after } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { HubAddress } from '../../src/hub/address.ts';
import { listening } from './listening.ts';

export interface HubRequestSeen {
  /** Which server it came to. */
  readonly at: 'hub' | 'storage';
  readonly path: string;
  readonly range: string | undefined;
  readonly authorization: string | undefined;
}

/** What a server sends in the place of, or before, the content that it has. */
export interface Misbehaviour {
  /** Answers in its own way; false leaves the request to the server. */
  readonly answer?: (request: HubRequestSeen, response: ServerResponse) => boolean;
  /** Bytes of a content's answer after which the connection is cut; null: it is not. */
  readonly cutAfter?: (request: HubRequestSeen) => number | null;
  /** What is sent in the place of the bytes from `from` on. */
  readonly content?: (path: string, bytes: Buffer, from: number) => Buffer;
  readonly ignoreRanges?: boolean;
  /** Of every content, all connections together. */
  readonly bytesPerSecond?: number;
}

/** Files of at least so many bytes are kept in the storage, and have a SHA-256. */
const largeBytes = 32 * 1024;
const pieceBytes = 16 * 1024;

export const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');
const blobId = (bytes: Uint8Array) =>
  createHash('sha1').update(`blob ${bytes.length}\0`).update(bytes).digest('hex');

/** The commit that all models are at. */
export const commit = 'c0ffee'.padEnd(40, '0');

export class FakeHub {
  /** Content by path, of each model by `owner/name`. */
  readonly models = new Map<string, Map<string, Buffer>>();
  readonly seen: HubRequestSeen[] = [];
  misbehaviour: Misbehaviour = {};
  /** Bytes of contents that were sent. */
  sentBytes = 0;
  readonly #servers: readonly Server[];
  /** How the storage is called in redirects, where that is not its own address. */
  storageName: string | null = null;
  #ports: readonly [number, number] = [0, 0];
  /** When the next piece may go, where the speed is limited. */
  #freeAt = 0;

  /** Call it once, outside of any test. */
  constructor() {
    const serve = (at: HubRequestSeen['at']) =>
      createServer((request, response) => {
        response.on('error', () => {});
        this.#answer(at, request, response).catch(() => response.destroy());
      });
    this.#servers = [serve('hub'), serve('storage')];
    after(() => {
      for (const server of this.#servers) {
        server.closeAllConnections();
        server.close();
      }
    });
  }

  async start(): Promise<void> {
    const [one = 0, other = 0] = await Promise.all(this.#servers.map(listening));
    this.#ports = [one, other];
  }

  get url(): string {
    return `http://127.0.0.1:${this.#ports[0]}`;
  }

  /** Of the hub, and of the storage. */
  get ports(): readonly [number, number] {
    return this.#ports;
  }

  address(token: string | null = null): HubAddress {
    return { endpoint: new URL(this.url), token };
  }

  /** Puts the files of a directory, and others, under the name of a model. */
  publish(id: string, dir: string | null, others: Readonly<Record<string, Buffer>> = {}): void {
    const names = dir === null ? [] : readdirSync(dir);
    const files = names.map((name) => [name, readFileSync(join(dir ?? '', name))] as const);
    this.models.set(id, new Map([...files, ...Object.entries(others)]));
  }

  /** Forgets what was seen, and behaves. */
  reset(misbehaviour: Misbehaviour = {}): void {
    this.seen.length = 0;
    this.sentBytes = 0;
    this.misbehaviour = misbehaviour;
  }

  async #answer(
    at: HubRequestSeen['at'],
    request: IncomingMessage,
    response: ServerResponse,
  ): Promise<void> {
    const { url = '', headers } = request;
    const { range, authorization } = headers;
    const path = decodeURIComponent(url);
    const seen = { at, path, range, authorization };
    this.seen.push(seen);
    if (this.misbehaviour.answer?.(seen, response)) return;
    const [, listed = ''] = /^\/api\/models\/([^/]+\/[^/]+)\/revision\//.exec(path) ?? [];
    const files = this.models.get(listed);
    if (files !== undefined) {
      response.setHeader('content-type', 'application/json');
      response.end(JSON.stringify(listOf(listed, files)));
      return;
    }
    const content = /^\/([^/]+\/[^/]+)\/resolve\/([0-9a-f]{40})\/([^?]+)/.exec(path) ?? [];
    const [, id = '', revision, name = ''] = content;
    const bytes = revision === commit ? this.models.get(id)?.get(name) : undefined;
    if (bytes === undefined) {
      response.writeHead(404).end('not found');
    } else if (at === 'hub' && bytes.length >= largeBytes) {
      const storage = this.storageName ?? `http://127.0.0.1:${this.#ports[1]}`;
      response.writeHead(302, { location: `${storage}${url}?signature=secret` }).end();
    } else await this.#send(seen, name, bytes, response);
  }

  async #send(
    seen: HubRequestSeen,
    name: string,
    all: Buffer,
    response: ServerResponse,
  ): Promise<void> {
    const { cutAfter, content, ignoreRanges, bytesPerSecond } = this.misbehaviour;
    const range = ignoreRanges ? null : /^bytes=(\d+)-(\d+)$/.exec(seen.range ?? '');
    const [from, to] = range ? [Number(range[1]), Number(range[2]) + 1] : [0, all.length];
    const bytes = content?.(name, all.subarray(from, to), from) ?? all.subarray(from, to);
    response.writeHead(range ? 206 : 200, {
      'content-length': bytes.length,
      ...(range && { 'content-range': `bytes ${from}-${to - 1}/${all.length}` }),
    });
    const end = Math.min(cutAfter?.(seen) ?? bytes.length, bytes.length);
    for (let done = 0; done < end; ) {
      const piece = bytes.subarray(done, Math.min(done + pieceBytes, end));
      if (bytesPerSecond !== undefined) await this.#turn(piece.length, bytesPerSecond);
      if (response.destroyed) return;
      await new Promise((resolve) => response.write(piece, resolve));
      done += piece.length;
      this.sentBytes += piece.length;
    }
    if (end < bytes.length) response.destroy();
    else response.end();
  }

  async #turn(bytes: number, bytesPerSecond: number): Promise<void> {
    this.#freeAt = Math.max(this.#freeAt, Date.now()) + (bytes * 1000) / bytesPerSecond;
    await sleep(this.#freeAt - Date.now());
  }
}

function listOf(id: string, files: ReadonlyMap<string, Buffer>) {
  const siblings = [...files].map(([rfilename, bytes]) => ({
    rfilename,
    size: bytes.length,
    blobId: blobId(bytes),
    ...(bytes.length >= largeBytes && {
      lfs: { sha256: sha256(bytes), size: bytes.length, pointerSize: 134 },
    }),
  }));
  return { id, sha: commit, siblings };
}
