/**
 * The table of character replacements of SentencePiece: `precompiled_charsmap`.
 *
 *     | bytes of the trie, u32 | trie: u32 each | texts, each with a 0 after it |
 *
 * The trie is a double array: from a node at `place`, byte b leads to `place ^ b`, if that node's label
 * is b. All numbers are little-endian.
 *
 *     bit   31 30 .. 10     9                8           7 .. 0
 *     node   0 offset       offset times 256 has a leaf  label
 *     leaf   1 place of the text, below bit 31
 */

/** The replacement of a key, and how many bytes the key has. */
interface Match {
  readonly length: number;
  readonly text: string;
}

const utf8 = new TextDecoder('utf-8', { ignoreBOM: true });

export class CharacterMap {
  readonly #nodes: Uint32Array;
  readonly #texts: Uint8Array;
  readonly #known = new Map<number, string>();

  /** @throws RangeError when the parts do not fit the length */
  constructor(bytes: Uint8Array) {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const trieBytes = bytes.length < 4 ? 0 : view.getUint32(0, true);
    if (trieBytes === 0 || trieBytes % 4 !== 0 || trieBytes + 4 >= bytes.length) {
      throw new RangeError(`it has ${bytes.length} bytes, but its trie needs ${trieBytes}`);
    }
    this.#nodes = Uint32Array.from({ length: trieBytes / 4 }, (_, at) =>
      view.getUint32(4 + 4 * at, true),
    );
    this.#texts = bytes.slice(4 + trieBytes);
  }

  /** The longest key that begins at `start` of `text` (UTF-8). */
  longest(text: Uint8Array, start: number): Match | null {
    return this.#search(text, start, text.length, true);
  }

  /** The replacement of the shortest key with which `text` begins. */
  shortest(text: Uint8Array): string | null {
    return this.#search(text, 0, text.length, false)?.text ?? null;
  }

  #search(text: Uint8Array, start: number, end: number, longest: boolean): Match | null {
    const nodes = this.#nodes;
    let place = offsetOf(nodes[0] as number);
    let found = -1;
    let length = 0;
    for (let at = start; at < end; at++) {
      const byte = text[at] as number;
      // No key contains a zero byte.
      if (byte === 0) break;
      place ^= byte;
      const node = nodes[place];
      if (node === undefined || (node & 0x8000_00ff) !== byte) break;
      place ^= offsetOf(node);
      const leaf = nodes[place];
      if ((node & 0x100) === 0 || leaf === undefined) continue;
      found = leaf & 0x7fff_ffff;
      length = at + 1 - start;
      if (!longest) break;
    }
    return length === 0 ? null : { length, text: this.#textAt(found) };
  }

  #textAt(place: number): string {
    const known = this.#known.get(place);
    if (known !== undefined) return known;
    const end = this.#texts.indexOf(0, place);
    const text = utf8.decode(this.#texts.subarray(place, end < 0 ? undefined : end));
    this.#known.set(place, text);
    return text;
  }
}

function offsetOf(node: number): number {
  return (node >>> 10) << ((node & 0x200) >>> 6);
}
