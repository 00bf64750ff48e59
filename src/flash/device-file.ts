/**
 * One file on flash, read by position straight into WebAssembly memory. Direct I/O where the file
 * system allows it: the page cache is DRAM too and would not be counted against the budget.
 */

import fs from 'node:fs';
import { IoError } from '../errors.ts';
import type { IoStats } from './io-stats.ts';
import { sectorBytes } from './layout.ts';

/** The part of `node:fs` that reading needs; tests put a faulty one in its place. */
export interface ReadSystem {
  open(path: string, flags: number): number;
  close(fd: number): void;
  /** Calls back with the number of bytes read, 0 at the end of the file. */
  read(
    fd: number,
    target: Uint8Array,
    position: number,
    done: (error: NodeJS.ErrnoException | null, bytes: number) => void,
  ): void;
}

export const nodeReadSystem: ReadSystem = {
  open: (path, flags) => fs.openSync(path, flags),
  close: (fd) => fs.closeSync(fd),
  read: (fd, target, position, done) => fs.read(fd, target, 0, target.length, position, done),
};

/** Errors of a single read that may not come back: tried again this many times in a row. */
const retriesWithoutProgress = 4;
const transient = new Set(['EINTR', 'EAGAIN', 'EIO']);

export class DeviceFile {
  readonly path: string;
  /** Whether the page cache is bypassed. */
  readonly direct: boolean;
  readonly #fd: number;
  readonly #system: ReadSystem;
  readonly #stats: IoStats;

  private constructor(
    path: string,
    fd: number,
    direct: boolean,
    system: ReadSystem,
    stats: IoStats,
  ) {
    this.path = path;
    this.direct = direct;
    this.#fd = fd;
    this.#system = system;
    this.#stats = stats;
  }

  /**
   * Opens `path` for direct reads, or for buffered ones where direct I/O is refused.
   * @param probe a sector of memory aligned to a sector, to try a read into
   */
  static async open(
    path: string,
    probe: Uint8Array,
    stats: IoStats,
    system: ReadSystem = nodeReadSystem,
  ): Promise<DeviceFile> {
    const flag = fs.constants.O_DIRECT as number | undefined; // undefined on macOS and Windows
    if (flag !== undefined) {
      const fd = tryOpen(() => system.open(path, fs.constants.O_RDONLY | flag));
      if (fd !== null) {
        const works = await new Promise<boolean>((resolve) => {
          system.read(fd, probe, 0, (error) => resolve(error === null));
        });
        if (works) return new DeviceFile(path, fd, true, system, stats);
        system.close(fd);
      }
    }
    try {
      const fd = system.open(path, fs.constants.O_RDONLY);
      return new DeviceFile(path, fd, false, system, stats);
    } catch (cause) {
      throw new IoError((cause as Error).message, { file: path }, undefined, { cause });
    }
  }

  close(): void {
    this.#system.close(this.#fd);
  }

  /**
   * Fills `target` from byte `position` on. With direct I/O, `position`, the length and the address
   * of `target` must be multiples of {@link sectorBytes}.
   * @throws IoError that names file and offset when the file is too short or reading keeps failing
   */
  async read(target: Uint8Array, position: number): Promise<void> {
    let done = 0;
    let failures = 0;
    this.#stats.begin(target.length);
    try {
      while (done < target.length) {
        const at = position + done;
        const result = await this.#readOnce(target.subarray(done), at);
        if (typeof result === 'number' && result > 0) {
          // A direct read may only go on at a sector; the part beyond it is read again.
          done += this.direct && done + result < target.length ? sectorFloor(result) : result;
          failures = result < sectorBytes ? failures + 1 : 0;
        } else if (result === 0) {
          throw new IoError('the file ends here; it was truncated while in use', {
            file: this.path,
            offset: at,
          });
        } else if (typeof result === 'object') {
          failures = transient.has(result.code ?? '') ? failures + 1 : retriesWithoutProgress + 1;
        }
        if (failures > retriesWithoutProgress) {
          const cause = typeof result === 'number' ? undefined : result;
          throw new IoError(
            `reading failed: ${cause?.message ?? 'no progress'}`,
            { file: this.path, offset: at },
            'Check the disk',
            { cause },
          );
        }
      }
    } finally {
      this.#stats.end();
    }
  }

  #readOnce(target: Uint8Array, position: number): Promise<number | NodeJS.ErrnoException> {
    return new Promise((resolve) => {
      this.#system.read(this.#fd, target, position, (error, bytes) => resolve(error ?? bytes));
    });
  }
}

function sectorFloor(bytes: number): number {
  return bytes - (bytes % sectorBytes);
}

function tryOpen(open: () => number): number | null {
  try {
    return open();
  } catch {
    return null;
  }
}
