/** A file on the hub, read by range, to get a model's headers before its weights are downloaded. */

import type { OpenedFile } from '../checkpoint/file.ts';
import { InputError, IoError } from '../errors.ts';
import type { HubConnection } from './connection.ts';
import { patiently, TransientError } from './patience.ts';
import { requestRange } from './range-request.ts';

/** Bytes of the first window; each window that directly follows another has four times as many. */
const firstWindow = 128 * 1024;
const largestWindow = 4 * 2 ** 20;
/** How far from the beginning a file is read if the server only sends whole files. */
const mostSkipped = 64 * 2 ** 20;

export interface RemotePlace {
  /** The path relative to the hub's address. */
  readonly address: string;
  /** The path in messages. */
  readonly path: string;
  readonly size: number;
}

export class RemoteFile implements OpenedFile {
  readonly path: string;
  readonly size: number;
  readonly #address: string;
  readonly #connection: HubConnection;
  #window: Buffer = Buffer.alloc(0);
  /** The window's first byte in the file. */
  #start = 0;
  #windowBytes = firstWindow;

  constructor(connection: HubConnection, { address, path, size }: RemotePlace) {
    this.#connection = connection;
    this.#address = address;
    this.path = path;
    this.size = size;
  }

  /** Reads the beginning of the file ahead, as every reader starts there. */
  async begin(): Promise<void> {
    if (this.size > 0) await this.#load(0, 1);
  }

  async read(offset: number, target: Uint8Array, tensor?: string): Promise<void> {
    const end = offset + target.length;
    if (target.length === 0) return;
    if (end > this.size) {
      throw new InputError(
        `truncated: bytes ${offset} to ${end} are needed, but the file has ${this.size}`,
        { file: this.path, ...(tensor !== undefined && { tensor }) },
      );
    }
    if (offset < this.#start || end > this.#start + this.#window.length) {
      await this.#load(offset, target.length);
    }
    target.set(this.#window.subarray(offset - this.#start, end - this.#start));
  }

  async close(): Promise<void> {
    this.#window = Buffer.alloc(0);
  }

  /** Moves the window to `offset`, with at least `bytes` bytes. */
  async #load(offset: number, bytes: number): Promise<void> {
    const windowEnd = this.#start + this.#window.length;
    const goesOn = this.#window.length > 0 && offset >= this.#start && offset <= windowEnd;
    this.#windowBytes = goesOn ? Math.min(this.#windowBytes * 4, largestWindow) : firstWindow;
    const length = Math.min(Math.max(bytes, this.#windowBytes), this.size - offset);
    const patience = this.#connection.patience(this.path);
    this.#window = await patiently(patience, () => this.#fetch(offset, length));
    this.#start = offset;
  }

  async #fetch(offset: number, length: number): Promise<Buffer> {
    const range = { from: offset, to: offset + length };
    const { start, body, from, drop } = await requestRange(
      this.#connection,
      this.#address,
      this.size,
      range,
    );
    if (offset - start > mostSkipped) {
      drop();
      throw new IoError(
        'does not support range requests, so the model cannot be examined before it is downloaded',
        { file: from },
        'Check HF_ENDPOINT, and proxies and firewalls between this machine and the hub',
      );
    }
    const window = Buffer.allocUnsafe(length);
    let at = start;
    for await (const piece of body) {
      const first = Math.max(at, offset);
      const last = Math.min(at + piece.length, range.to);
      if (first < last) window.set(piece.subarray(first - at, last - at), first - offset);
      at += piece.length;
      if (at >= range.to) break;
    }
    if (at < range.to) throw new TransientError(`the answer ends after byte ${at} of ${range.to}`);
    return window;
  }
}
