/** Requests a part of a file on the hub, from servers that may ignore the range or send a wrong one. */

import { IoError } from '../errors.ts';
import type { Answer, ByteRange, HubConnection } from './connection.ts';

export interface PartialAnswer extends Answer {
  /** The body's first byte in the file: 0 if the server ignored the range and sends the whole file. */
  readonly start: number;
}

/**
 * Requests `range` of the file at `path`, which has `size` bytes, once.
 * @throws as `HubConnection.get`; IoError when the answer contradicts `size` or has another range
 */
export async function requestRange(
  connection: HubConnection,
  path: string,
  size: number,
  range: ByteRange,
): Promise<PartialAnswer> {
  const isWhole = range.from === 0 && range.to === size;
  const answer = await connection.get(path, isWhole ? undefined : range);
  const { status, headers, from: file } = answer;
  const lie = (what: string) => {
    answer.drop();
    return new IoError(what, { file }, 'Try again later, or check HF_ENDPOINT');
  };
  if (status === 200) {
    const length = headers['content-length'];
    if (length !== undefined && Number(length) !== size) {
      throw lie(`sends ${length} bytes; the hub lists the file with ${size}`);
    }
    return { ...answer, start: 0 };
  }
  const said = headers['content-range'] ?? 'nothing';
  const [, from, last, total] = /^bytes (\d+)-(\d+)\/(\d+|\*)$/.exec(said) ?? [];
  if (total !== undefined && total !== '*' && Number(total) !== size) {
    throw lie(`says that the file has ${total} bytes; the hub lists it with ${size}`);
  }
  if (isWhole || Number(from) !== range.from || Number(last) !== range.to - 1) {
    throw lie(`was asked for bytes ${range.from}-${range.to - 1} and sends '${said}'`);
  }
  return { ...answer, start: range.from };
}
