/** Checks a file against the hub's digest. */

import { createHash } from 'node:crypto';
import { eachPiece } from '../regular-file.ts';
import type { HubFile } from './repository.ts';

/**
 * The digest of the file at `path`, with the hash function and the length of `wanted`.
 * @param onBytes called with the length of each piece that was read
 * @throws errors of the file system, and the signal's reason
 */
export async function digestOfFile(
  path: string,
  { hash, bytes }: HubFile,
  signal: AbortSignal,
  onBytes: (bytes: number) => void = () => {},
): Promise<string> {
  const digest = createHash(hash.kind === 'git' ? 'sha1' : 'sha256');
  if (hash.kind === 'git') digest.update(`blob ${bytes}\0`);
  await eachPiece(path, (piece) => {
    signal.throwIfAborted();
    digest.update(piece);
    onBytes(piece.length);
  });
  return digest.digest('hex');
}
