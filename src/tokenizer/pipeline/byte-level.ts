/** Bytes written as characters, as byte-level vocabularies have them: a blank is Ġ. */

/** The character of each byte: printable ones are their own, the others follow U+0100. */
const characterOf: readonly string[] = (() => {
  const printable = (byte: number) =>
    (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
  let next = 0x100;
  return Array.from({ length: 256 }, (_, byte) =>
    String.fromCharCode(printable(byte) ? byte : next++),
  );
})();

const byteOf: ReadonlyMap<string, number> = new Map(
  characterOf.map((character, byte) => [character, byte]),
);

const encoder = new TextEncoder();

/** The UTF-8 bytes of `text`, a character each. */
export function bytesAsCharacters(text: string): string {
  // Most words are ASCII, which needs no bytes.
  let result = '';
  for (let at = 0; at < text.length; at++) {
    const unit = text.charCodeAt(at);
    if (unit > 0x7f) {
      result += charactersOf(encoder.encode(text.slice(at)));
      break;
    }
    result += characterOf[unit];
  }
  return result;
}

/** A character for each of `bytes`. */
export function charactersOf(bytes: Uint8Array): string {
  let result = '';
  for (const byte of bytes) result += characterOf[byte];
  return result;
}

/** The bytes that a token stands for: its own UTF-8 when it has characters that are no bytes. */
export function bytesOfToken(token: string): readonly number[] | Uint8Array {
  const bytes: number[] = [];
  for (const character of token) {
    const byte = byteOf.get(character);
    if (byte === undefined) return encoder.encode(token);
    bytes.push(byte);
  }
  return bytes;
}
