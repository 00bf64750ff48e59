/** Names that a hub gives files: which are paths in a repository, and which a directory here may have. */

import { InputError } from '../errors.ts';

const mostPathLength = 1024;
const mostNameBytes = 255;

/** A path in a repository that stays in it; null where `value` is none. */
export function repositoryPath(value: unknown): string | null {
  if (typeof value !== 'string' || value.length > mostPathLength) return null;
  const parts = value.split('/');
  const plain = (part: string) => part !== '' && part !== '.' && part !== '..';
  return parts.every(plain) && !/[\\\p{Cc}\p{Surrogate}]/u.test(value) ? value : null;
}

/** What Windows takes for a device, whatever follows the point. */
const devices = /^(con|prn|aux|nul|com\d|lpt\d)(\.|$)/i;

/**
 * The name that the file at `path` of a repository has here: the last part of its path.
 * @param taken names that are not free, in lower case
 * @throws InputError when not every system can have a file of that name
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
