/** Files as Windows has them, where renaming is concerned; it sees what is open by /proc. */

import { lstatSync, readdirSync, readlinkSync } from 'node:fs';
import { resolve } from 'node:path';
import { type MoveSystem, nodeMoveSystem } from '../../src/moving-files.ts';
import { systemError } from './fake-disk.ts';

/** Paths of the files that this process has open. */
function openPaths(): string[] {
  return readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      return [readlinkSync(`/proc/self/fd/${fd}`)];
    } catch {
      return []; // the directory that was just read
    }
  });
}

function isDirectory(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
}

export interface WindowsFiles extends MoveSystem {
  /** Milliseconds that were waited for, in turn; nobody really waits. */
  readonly pauses: number[];
  /** Attempts that fail yet, as while a virus scanner has the file. */
  held: number;
}

/** Refuses to rename directories that hold an open file, and onto directories and open files. */
export function windowsFiles(held = 0, code = 'EPERM'): WindowsFiles {
  const pauses: number[] = [];
  const hold = () => {
    if (files.held-- > 0) throw systemError(code);
  };
  const files: WindowsFiles = {
    pauses,
    held,
    platform: 'win32',
    async rename(from, to) {
      hold();
      const inUse = openPaths().some(
        (path) => path === resolve(to) || path.startsWith(`${resolve(from)}/`),
      );
      if (inUse || isDirectory(to)) throw systemError('EPERM');
      await nodeMoveSystem.rename(from, to);
    },
    async remove(path) {
      hold();
      await nodeMoveSystem.remove(path);
    },
    async pause(ms) {
      pauses.push(ms);
    },
  };
  return files;
}
