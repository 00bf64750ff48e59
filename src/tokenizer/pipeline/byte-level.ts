/** Bytes written as characters, as in byte-level vocabularies: a space is Ġ. */

/**
 * The character of each byte: printable bytes keep their character, the others get characters from U+0100
 * on.
 */
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

/** The UTF-8 bytes of `text`, one character per byte. */
export function bytesAsCharacters(text: string): string {
  // Most words are ASCII and need no conversion to bytes.
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

/** One character for each of `bytes`. */
export function charactersOf(bytes: Uint8Array): string {
  let result = '';
  for (const byte of bytes) result += characterOf[byte];
  return result;
}

/** The bytes that a token stands for: its own UTF-8 if it has characters that do not represent bytes. */
export function bytesOfToken(token: string): readonly number[] | Uint8Array {
  const bytes: number[] = [];
  for (const character of token) {
    const byte = byteOf.get(character);
    if (byte === undefined) return encoder.encode(token);
    bytes.push(byte);
  }
  return bytes;
}
