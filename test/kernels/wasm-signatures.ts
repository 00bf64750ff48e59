/** Signatures of a WebAssembly module's exports, from its bytes: the API gives only their number of parameters. */

const valueTypes: Readonly<Record<number, string>> = {
  127: 'i32',
  126: 'i64',
  125: 'f32',
  124: 'f64',
  123: 'v128',
};

/** Reads one section after the other; positions are byte offsets. */
class Reader {
  readonly #bytes: Uint8Array;
  at: number;

  constructor(bytes: Uint8Array, at: number) {
    this.#bytes = bytes;
    this.at = at;
  }

  byte(): number {
    return this.#bytes[this.at++] ?? 0;
  }

  /** An unsigned LEB128 number. */
  number(): number {
    for (let value = 0, shift = 1; ; shift *= 128) {
      const byte = this.byte();
      value += (byte & 127) * shift;
      if (byte < 128) return value;
    }
  }

  text(): string {
    const length = this.number();
    this.at += length;
    return Buffer.from(this.#bytes.subarray(this.at - length, this.at)).toString();
  }

  list<T>(entry: () => T): T[] {
    return Array.from({ length: this.number() }, entry);
  }
}

/** Exported functions by their names, as `(i32, f32): i32`. The module may import no functions. */
export function exportedSignatures(bytes: Uint8Array): ReadonlyMap<string, string> {
  const reader = new Reader(bytes, 8);
  let types: string[] = [];
  let functions: number[] = [];
  const found = new Map<string, string>();
  while (reader.at < bytes.length) {
    const section = reader.byte();
    const size = reader.number();
    const end = reader.at + size;
    if (section === 1) {
      types = reader.list(() => {
        reader.byte(); // 0x60: a function
        const parameters = reader.list(() => valueTypes[reader.byte()]);
        const results = reader.list(() => valueTypes[reader.byte()]);
        return `(${parameters.join(', ')}): ${results[0] ?? 'void'}`;
      });
    } else if (section === 3) {
      functions = reader.list(() => reader.number());
    } else if (section === 7) {
      reader.list(() => {
        const name = reader.text();
        const kind = reader.byte();
        const index = reader.number();
        if (kind === 0) found.set(name, types[functions[index] ?? -1] ?? 'unknown');
      });
    }
    reader.at = end;
  }
  return found;
}
