/** The threads that help one conversion. */

import { stat } from 'node:fs/promises';
import { ChecksumThread } from './checksum-thread.ts';
import { SideThread } from './side-thread.ts';
import { threadsPay } from './worker-thread.ts';

export class Helpers {
  #side: SideThread | null = null;
  #checksums: ChecksumThread | null = null;

  /**
   * Starts the threads that pay for the checkpoint at `path`; before its file is read, as they take as long
   * to start as a header to be read.
   */
  static async startFor(path: string, signal: AbortSignal | undefined): Promise<Helpers> {
    const helpers = new Helpers();
    const found = await stat(path).catch(() => null);
    if (found?.isFile() !== true || !threadsPay(found.size)) return helpers;
    helpers.#side = new SideThread(signal);
    helpers.#checksums = new ChecksumThread();
    return helpers;
  }

  /** Makes the side files of a GGUF file. */
  get side(): SideThread | null {
    return this.#side;
  }

  get checksums(): ChecksumThread | null {
    return this.#checksums;
  }

  /** An upper bound of the memory that the threads may still take. */
  get pendingBytes(): number {
    const checksums = this.#checksums === null ? 0 : ChecksumThread.residentBytes;
    return checksums + (this.#side?.pendingBytes ?? 0);
  }

  /** Starts the thread for checksums, if it pays for a model of `bytes` and does not run already. */
  sumFor(bytes: number): void {
    if (this.#checksums === null && threadsPay(bytes)) this.#checksums = new ChecksumThread();
  }

  /** Ends the thread for checksums. */
  async endSums(): Promise<void> {
    await this.#checksums?.end();
    this.#checksums = null;
  }

  /** Ends all threads, whatever they are doing. */
  async end(): Promise<void> {
    await Promise.all([this.#side?.end(), this.endSums()]);
  }
}
