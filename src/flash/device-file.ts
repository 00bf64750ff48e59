/**
 * One open file on flash. Direct I/O where the file system allows it: the page cache is DRAM too,
 * and would not be counted against the budget.
 */

import { FlashError, IoError } from '../errors.ts';
import { createBuffer } from '../pages.ts';
import { nodeReadSystem, type ReadSystem } from './read-system.ts';

/** Every known device accepts one of these alignments of offset, length and address. */
const alignments = [512, 4096] as const;

export class DeviceFile {
  readonly path: string;
  readonly size: number;
  /** Whether the page cache is bypassed. */
  readonly direct: boolean;
  /** Offset, length and address of a read must be multiples of this; 1 for buffered reads. */
  readonly alignment: number;
  readonly #fd: number;
  readonly #system: ReadSystem;

  private constructor(
    path: string,
    fd: number,
    mode: { direct: boolean; alignment: number },
    system: ReadSystem,
  ) {
    this.path = path;
    this.size = system.size(fd);
    this.direct = mode.direct;
    this.alignment = mode.alignment;
    this.#fd = fd;
    this.#system = system;
  }

  /**
   * Opens `path` for direct reads, or for buffered ones where direct I/O is refused.
   * @param allowDirect false forces buffered reads
   */
  static async open(
    path: string,
    system: ReadSystem = nodeReadSystem,
    allowDirect = true,
  ): Promise<DeviceFile> {
    const fd = allowDirect ? tryOpenDirect(path, system) : null;
    if (fd !== null) {
      for (const alignment of alignments) {
        if (await canRead(fd, alignment, system)) {
          return new DeviceFile(path, fd, { direct: true, alignment }, system);
        }
      }
      system.close(fd);
    }
    try {
      const buffered = system.open(path, false);
      return new DeviceFile(path, buffered, { direct: false, alignment: 1 }, system);
    } catch (cause) {
      if (cause instanceof FlashError) throw cause;
      throw new IoError((cause as Error).message, { file: path }, undefined, { cause });
    }
  }

  close(): void {
    this.#system.close(this.#fd);
  }

  /** One read of the operating system, which may be short: the bytes read, or the error. */
  readv(targets: readonly Uint8Array[], position: number): Promise<number | NodeJS.ErrnoException> {
    return new Promise((resolve) => {
      this.start(targets, position, resolve);
    });
  }

  /** The same with a callback, which saves a promise for each of a measurement's many reads. */
  start(
    targets: readonly Uint8Array[],
    position: number,
    done: (result: number | NodeJS.ErrnoException) => void,
  ): void {
    this.#system.readv(this.#fd, targets, position, (error, bytes) => done(error ?? bytes));
  }
}

function tryOpenDirect(path: string, system: ReadSystem): number | null {
  try {
    return system.open(path, true);
  } catch {
    return null; // tmpfs, macOS, Windows
  }
}

/** Tries a read whose offset, length and address are odd multiples of `alignment`. */
async function canRead(fd: number, alignment: number, system: ReadSystem): Promise<boolean> {
  const target = new Uint8Array(createBuffer(2 * alignment).buffer, alignment, alignment);
  return new Promise((resolve) => {
    system.readv(fd, [target], alignment, (error) => resolve(error === null));
  });
}
