/** The part of the operating system that reading needs; tests replace it by a faulty one. */

import fs from 'node:fs';
import { assertRegular, readFlags } from '../regular-file.ts';

export interface ReadSystem {
  /** Opens for reading, past the page cache when `direct`. Throws the system's error, or InputError. */
  open(path: string, direct: boolean): number;
  close(fd: number): void;
  size(fd: number): number;
  /** Fills `targets` one after the other; calls back with the bytes read, 0 at the file's end. */
  readv(
    fd: number,
    targets: readonly Uint8Array[],
    position: number,
    done: (error: NodeJS.ErrnoException | null, bytes: number) => void,
  ): void;
}

/** Absent on macOS and Windows, although the types declare it. */
const directFlag = fs.constants.O_DIRECT as number | undefined;

function openRegularSync(path: string, flags: number): number {
  assertRegular(fs.statSync(path), path);
  const fd = fs.openSync(path, flags);
  try {
    assertRegular(fs.fstatSync(fd), path);
    return fd;
  } catch (error) {
    fs.closeSync(fd);
    throw error;
  }
}

export const nodeReadSystem: ReadSystem = {
  open(path, direct) {
    if (!direct) return openRegularSync(path, readFlags);
    if (directFlag === undefined) throw new Error('no direct I/O on this platform');
    if (process.env.FLASHLLM_DIRECT_IO === '0') throw new Error('direct I/O is switched off');
    return openRegularSync(path, readFlags | directFlag);
  },
  close: (fd) => fs.closeSync(fd),
  size: (fd) => fs.fstatSync(fd).size,
  readv(fd, targets, position, done) {
    const [only] = targets;
    if (targets.length === 1 && only !== undefined) {
      fs.read(fd, only, 0, only.length, position, done);
    } else {
      fs.readv(fd, targets as Uint8Array[], position, done);
    }
  },
};
