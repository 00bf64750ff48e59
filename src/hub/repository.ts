/** The contents of a repository on the hub at one commit, as listed by the hub's API. */

import { isJsonObject, JsonExcessError, parseJson, printable } from '../checkpoint/json-file.ts';
import { isCount } from '../checkpoint/shape.ts';
import { InputError, IoError } from '../errors.ts';
import type { HubConnection } from './connection.ts';
import { repositoryPath } from './file-names.ts';

/** The digest of a file: its SHA-256, or for small files git's SHA-1. */
export interface FileHash {
  readonly kind: 'sha256' | 'git';
  /** In hexadecimal digits. */
  readonly digest: string;
}

export interface HubFile {
  /** The path in the repository. */
  readonly path: string;
  readonly bytes: number;
  readonly hash: FileHash;
}

export interface Repository {
  /** `owner/name`. */
  readonly id: string;
  /** The commit; the branch may move on meanwhile. */
  readonly revision: string;
  /** The files, ordered by path, without those that the hub describes incompletely. */
  readonly files: readonly HubFile[];
}

/** The most bytes of a list: some 200 bytes for each file. */
const mostListBytes = 32 * 2 ** 20;
const mostFiles = 100_000;
/** Failures before the hub counts as unreachable: few, so that a typing error is reported soon. */
const attempts = 3;

/**
 * Lists the files of the model `id` on the hub.
 * @param revision branch, tag or commit
 * @throws InputError when the model does not exist or may not be read; IoError when the hub cannot be
 * reached, or its answer is not that of a hub
 */
export async function readRepository(
  connection: HubConnection,
  id: string,
  revision: string,
): Promise<Repository> {
  const path = `/api/models/${id}/revision/${encodeURIComponent(revision)}?blobs=true`;
  const answer = await connection
    .bytes(path, mostListBytes, attempts)
    .catch((error: unknown) => Promise.reject(named(error, id, revision)));
  const file = `${connection.endpoint.origin}${path}`;
  const wrong = (what: string) =>
    new IoError(
      what,
      { file },
      'Check HF_ENDPOINT, and proxies and firewalls between this machine and the hub',
    );
  let list: unknown;
  try {
    list = parseJson(answer, file);
  } catch (error) {
    if (error instanceof JsonExcessError || !(error instanceof InputError)) throw error;
    throw wrong(`the answer is not that of a hub: it ${error.message}`);
  }
  const { sha, siblings } = isJsonObject(list) ? list : {};
  if (typeof sha !== 'string' || !/^[0-9a-f]{40}$/.test(sha)) {
    throw wrong('the answer is not that of a hub: it names no commit');
  }
  if (!Array.isArray(siblings) || siblings.length > mostFiles) {
    throw wrong(`the answer is not that of a hub: it lists no files, or more than ${mostFiles}`);
  }
  const files = siblings.flatMap((entry: unknown) => fileOf(entry) ?? []);
  return { id, revision: sha, files: files.sort((a, b) => (a.path < b.path ? -1 : 1)) };
}

/** The path of a file's content at the commit, relative to the hub's address. */
export function contentPath({ id, revision }: Repository, { path }: HubFile): string {
  return `/${id}/resolve/${revision}/${path.split('/').map(encodeURIComponent).join('/')}`;
}

/** An error of the list, with the model's name instead of an address. */
function named(error: unknown, id: string, revision: string): unknown {
  if (!(error instanceof InputError)) return error;
  const where = revision === 'main' ? id : `${id} at ${printable(revision)}`;
  return new InputError(`${where} ${error.message}`, {}, error.hint, { cause: error });
}

function fileOf(entry: unknown): HubFile | null {
  if (!isJsonObject(entry)) return null;
  const { rfilename, size, blobId, lfs } = entry;
  const path = repositoryPath(rfilename);
  if (path === null) return null;
  const { sha256, size: stored } = isJsonObject(lfs) ? lfs : {};
  const bytes = stored ?? size;
  const hash: FileHash = isJsonObject(lfs)
    ? { kind: 'sha256', digest: digestOf(sha256, 64) }
    : { kind: 'git', digest: digestOf(blobId, 40) };
  return isCount(bytes) && hash.digest !== '' ? { path, bytes, hash } : null;
}

function digestOf(value: unknown, digits: number): string {
  const text = typeof value === 'string' ? value.toLowerCase() : '';
  return text.length === digits && /^[0-9a-f]+$/.test(text) ? text : '';
}
