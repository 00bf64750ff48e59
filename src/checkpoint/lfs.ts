/** Git-LFS pointers: the 130 bytes that a clone without git-lfs leaves where a file should be. */

import { InputError } from '../errors.ts';

/** The first characters of every pointer file. */
export const lfsPointerPrefix = 'version https://git-lfs.github.com/spec/';

/** @throws InputError when `head`, the first bytes of the file at `path`, belongs to a pointer. */
export function assertNotLfsPointer(head: Uint8Array, path: string): void {
  const text = Buffer.from(head.buffer, head.byteOffset, head.byteLength).toString('latin1');
  if (!text.startsWith(lfsPointerPrefix)) return;
  throw new InputError(
    'is a git-LFS pointer, not the file itself',
    { file: path },
    'Fetch the real file with `git lfs pull`, or download it from the model page',
  );
}
