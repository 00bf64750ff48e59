/** GGUF files for tests, written part by part, so that every part can be wrong. */

export const u32 = (value: number) => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
};

export const u64 = (value: number | bigint) => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
};

export const f32 = (value: number) => {
  const bytes = Buffer.alloc(4);
  bytes.writeFloatLE(value);
  return bytes;
};

export const text = (value: string) =>
  Buffer.concat([u64(Buffer.byteLength(value)), Buffer.from(value)]);

/** The value of a key: its type, and its bytes. */
export const value = {
  u32: (number: number) => Buffer.concat([u32(4), u32(number)]),
  f32: (number: number) => Buffer.concat([u32(6), f32(number)]),
  bool: (flag: boolean) => Buffer.concat([u32(7), Buffer.from([flag ? 1 : 0])]),
  text: (content: string) => Buffer.concat([u32(8), text(content)]),
  texts: (items: readonly string[]) => array(8, items.map(text)),
  f32s: (items: readonly number[]) => array(6, items.map(f32)),
  i32s: (items: readonly number[]) => array(5, items.map(u32)),
} as const;

/** An array whose elements have the type `code`; `count` may lie. */
export function array(
  code: number,
  items: readonly Buffer[],
  count: number | bigint = items.length,
): Buffer {
  return Buffer.concat([u32(9), u32(code), u64(count), ...items]);
}

export interface GgufTensorParts {
  readonly name: string;
  /** The innermost first. */
  readonly sizes: readonly (number | bigint)[];
  /** ggml's code. */
  readonly type: number;
  /** Where the data begins, from the beginning of all data; right behind the tensor before. */
  readonly offset?: number | bigint;
  readonly data: Buffer;
}

export interface GgufParts {
  readonly magic?: string;
  readonly version?: Buffer;
  readonly tensorCount?: number | bigint;
  readonly keyCount?: number | bigint;
  readonly metadata?: readonly (readonly [key: string, value: Buffer])[];
  readonly tensors?: readonly GgufTensorParts[];
  readonly alignment?: number;
}

export const f32Type = 0;
export const q4KType = 12;

/** A file of whose tensors only the sizes are known. */
interface GgufHeaderParts extends Omit<GgufParts, 'tensors'> {
  readonly tensors: readonly (Omit<GgufTensorParts, 'data'> & { readonly bytes: number })[];
}

/** What stands before the data, padded. */
export function ggufHeader(parts: GgufHeaderParts): Buffer {
  const { magic = 'GGUF', version = u32(3), metadata = [], tensors, alignment = 32 } = parts;
  const entries: Buffer[] = [];
  let end = 0;
  for (const { name, sizes, type, bytes, offset = end } of tensors) {
    entries.push(text(name), u32(sizes.length), ...sizes.map(u64), u32(type), u64(offset));
    end += bytes + ggufPadding(bytes, alignment).length;
  }
  const header = Buffer.concat([
    Buffer.from(magic),
    version,
    u64(parts.tensorCount ?? tensors.length),
    u64(parts.keyCount ?? metadata.length),
    ...metadata.flatMap(([key, bytes]) => [text(key), bytes]),
    ...entries,
  ]);
  return Buffer.concat([header, ggufPadding(header.length, alignment)]);
}

/** The bytes of a file. */
export function ggufBytes(parts: GgufParts): Buffer {
  const { tensors = [], alignment } = parts;
  const sized = tensors.map((tensor) => ({ ...tensor, bytes: tensor.data.length }));
  const data = tensors.flatMap(({ data: own }) => [own, ggufPadding(own.length, alignment)]);
  return Buffer.concat([ggufHeader({ ...parts, tensors: sized }), ...data]);
}

/** What stands behind so many bytes, so that the next ones are aligned. */
export function ggufPadding(bytes: number, alignment = 32): Buffer {
  return Buffer.alloc((alignment - (bytes % alignment)) % alignment);
}
