/**
 * Messages of Protocol Buffers, read field by field. A field is a key, `number << 3 | wire`, and its value:
 *
 *     wire 0   varint: seven bits a byte, the lowest first, the high bit says that more follow
 *     wire 1   8 bytes
 *     wire 2   a length as a varint, and that many bytes: a text, a message, packed numbers
 *     wire 5   4 bytes
 */

import { InputError } from '../../errors.ts';

/**
 * `numeric` holds the value of a field that is a number, `bytes` that of a field of bytes; the other is
 * empty.
 */
export interface Field {
  readonly number: number;
  readonly wire: 0 | 1 | 2 | 5;
  /** For a varint, its low 32 bits with sign, as in an enumeration, flag or int32. */
  readonly integer: number;
  /** The value for wire types 1, 2 and 5. */
  readonly bytes: Buffer;
}

const none = Buffer.alloc(0);
const mostVarintBytes = 10;

/**
 * The fields of a message, in the file's order.
 * @param start byte offset of `message` in `file`, for messages
 * @throws InputError when it ends within a field, or a field is of an unknown kind
 */
export function* fieldsOf(message: Buffer, file: string, start = 0): Generator<Field> {
  let at = 0;
  const damaged = (what: string, where: number) =>
    new InputError(
      `is not a SentencePiece model: ${what} at byte ${start + where}`,
      { file },
      'The file is damaged or of another kind',
    );
  const varint = (): { readonly low: number; readonly value: number } => {
    const begin = at;
    let low = 0;
    let value = 0;
    for (let index = 0; index < mostVarintBytes; index++) {
      const byte = message[at++];
      if (byte === undefined) throw damaged('it ends within a number', begin);
      if (index < 5) low |= (byte & 0x7f) << (7 * index);
      value += (byte & 0x7f) * 2 ** (7 * index);
      if (byte < 0x80) return { low, value };
    }
    throw damaged('a number is too long', begin);
  };
  while (at < message.length) {
    const begin = at;
    const key = varint().value;
    const wire = key % 8;
    const number = Math.floor(key / 8);
    if (number === 0) throw damaged('a field has the number 0', begin);
    if (wire === 0) {
      yield { number, wire, integer: varint().low, bytes: none };
      continue;
    }
    if (wire !== 1 && wire !== 2 && wire !== 5)
      throw damaged(`a field of wire type ${wire}`, begin);
    const length = wire === 2 ? varint().value : wire === 1 ? 8 : 4;
    if (length > message.length - at) {
      throw damaged(
        `a field of ${length} bytes, of which only ${message.length - at} are present,`,
        begin,
      );
    }
    yield { number, wire, integer: 0, bytes: message.subarray(at, at + length) };
    at += length;
  }
}
