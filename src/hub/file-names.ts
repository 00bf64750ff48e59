/**
 * File names from the hub: which are valid paths in a repository, and which are allowed in a local
 * directory.
 */

import { InputError } from '../errors.ts';

const mostPathLength = 1024;
const mostNameBytes = 255;

/** `value` as a path that stays within its repository; null if it is not one. */
export function repositoryPath(value: unknown): string | null {
  if (typeof value !== 'string' || value.length > mostPathLength) return null;
  const parts = value.split('/');
  const plain = (part: string) => part !== '' && part !== '.' && part !== '..';
  return parts.every(plain) && !/[\\\p{Cc}\p{Surrogate}]/u.test(value) ? value : null;
}

/** Names that Windows takes for devices, with any extension. */
const devices = /^(con|prn|aux|nul|com\d|lpt\d)(\.|$)/i;

/**
 * The local name of the file at `path` of a repository: the last part of its path.
 * @param taken names already in use, in lower case
 * @throws InputError when some system does not allow a file of that name
 */
export function localName(path: string, taken: ReadonlySet<string>): string {
  const name = path.slice(path.lastIndexOf('/') + 1);
  const odd =
    /^\.|[\\/:*?"<>|\p{Cc}]|[. ]$/u.test(name) ||
    devices.test(name) ||
    Buffer.byteLength(name) > mostNameBytes;
  if (!odd && !taken.has(name.toLowerCase())) return name;
  throw new InputError(
    odd
      ? 'is not an allowed file name'
      : 'has the name of another file of the model, or of a file that flashllm writes',
    { file: path },
    'Download it by other means, under another name',
  );
}
