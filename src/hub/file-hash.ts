/** Whether a file is the one that the hub has. */

import { createHash } from 'node:crypto';
import { eachPiece } from '../regular-file.ts';
import type { HubFile } from './repository.ts';

/**
 * The digest of the file at `path`, by the hash of `wanted` and as if it had as many bytes.
 * @param onBytes is told of each piece that was read
 * @throws what the system says, and what the signal says
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
