/**
 * The residual stream of all tokens between two layers, on disk: it is read before a layer and written to
 * another file after it, so that a run that is killed in between finds the layer's input unchanged.
 */

import { closeSync, openSync, readSync, writeSync } from 'node:fs';
import { recreateFileSync } from '../aside.ts';
import { IoError, writeError } from '../errors.ts';
import { readFlags } from '../regular-file.ts';
import { statesFile } from './finished-layer.ts';

const f32Bytes = 4;

/** Bytes of the states of `tokens` tokens. */
export function stateBytes(tokens: number, hidden: number): number {
  return tokens * hidden * f32Bytes;
}

export class HiddenStates {
  readonly #dir: string;
  readonly #hidden: number;
  #input: number | null = null;
  #output: number | null = null;
  #layer = 0;

  /** @param hidden values of a token */
  constructor(dir: string, hidden: number) {
    this.#dir = dir;
    this.#hidden = hidden;
  }

  /** Begins a layer; the first one has no input. */
  begin(layer: number): void {
    this.end();
    this.#layer = layer;
    try {
      if (layer > 0) this.#input = openSync(this.#path(layer), readFlags);
      this.#output = recreateFileSync(this.#path(layer + 1));
    } catch (cause) {
      throw writeError(cause, this.#dir);
    }
  }

  /** Reads the states of tokens [first, first + n) before the layer. */
  read(first: number, target: Float32Array): void {
    const bytes = new Uint8Array(target.buffer, target.byteOffset, target.byteLength);
    // Not directly into shared memory, which readSync does not accept everywhere.
    const buffer = Buffer.allocUnsafeSlow(bytes.length);
    const start = first * this.#hidden * f32Bytes;
    for (let done = 0; done < bytes.length; ) {
      const n = readSync(this.#input ?? -1, buffer, done, bytes.length - done, start + done);
      if (n === 0) {
        const place = { file: this.#path(this.#layer), offset: start + done };
        throw new IoError(
          'was truncated while training ran',
          place,
          'Remove the directory and train again',
        );
      }
      done += n;
    }
    bytes.set(buffer);
  }

  /** Writes their states after the layer. */
  write(first: number, states: Float32Array): void {
    const bytes = Buffer.from(new Uint8Array(states.buffer, states.byteOffset, states.byteLength));
    const start = first * this.#hidden * f32Bytes;
    try {
      for (let done = 0; done < bytes.length; ) {
        done += writeSync(this.#output ?? -1, bytes, done, bytes.length - done, start + done);
      }
    } catch (cause) {
      throw writeError(cause, this.#path(this.#layer + 1));
    }
  }

  /** Ends or aborts a layer. */
  end(): void {
    for (const fd of [this.#input, this.#output]) if (fd !== null) closeSync(fd);
    this.#input = null;
    this.#output = null;
  }

  #path(layer: number): string {
    return statesFile(this.#dir, layer);
  }
}
