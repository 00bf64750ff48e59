/**
 * Puts rows of GGUF's block formats into the packed form that packed-groups.ts draws and computes with, and
 * takes single rows out of it.
 */
import { QUANTISED_GROUP } from './exports/shared-constants';
import { GroupCodec } from './group';

/** The parts of packed blocks. */
abstract class Parts {
  /** Bytes that blocks have in addition to words of 32 bits: their factor, an f16 or a byte, or nothing. */
  @inline static factor<T extends GroupCodec>(): usize {
    return changetype<T>(0).bytes & 3;
  }
  /** Offset of the words in a row's block. */
  @inline static words<T extends GroupCodec>(): usize {
    return changetype<T>(0).factorAt == 0 ? Parts.factor<T>() : 0;
  }
  @inline static count<T extends GroupCodec>(): i32 {
    return <i32>(changetype<T>(0).bytes >> 2);
  }
  /** Offset of the vector of word `word`. */
  @inline static vector<T extends GroupCodec>(word: i32): usize {
    return (Parts.factor<T>() << 2) + ((<usize>changetype<T>(0).place(word)) << 4);
  }
}

/** Fifth bits of four rows, given as one word per lane, in the order of packed blocks. */
function packedFifths(words: v128): v128 {
  const bits = i32x4.splat(0x08040201);
  let packed = i32x4.splat(0);
  for (let c = 0; c < 8; c++) {
    const four = i32x4.shr_u(words, 4 * c);
    const each = i8x16.shuffle(four, four, 0, 0, 0, 0, 4, 4, 4, 4, 8, 8, 8, 8, 12, 12, 12, 12);
    const set = i8x16.eq(v128.and(each, bits), bits);
    packed = v128.or(packed, v128.and(set, i8x16.splat(<i8>((<i32>1) << c))));
  }
  return packed;
}

/** The word of a row's fifth bits, whose bytes in a packed block are `bytes`. */
function fifthsOfRow(bytes: u32): u32 {
  let word: u32 = 0;
  for (let k = 0; k < 4; k++) {
    let bits = (bytes >>> (8 * k)) & 255;
    bits = (bits | (bits << 12)) & 0x000f000f;
    bits = (bits | (bits << 6)) & 0x03030303;
    bits = (bits | (bits << 3)) & 0x11111111;
    word |= bits << k;
  }
  return word;
}

/** Packs rows of `cols` weights in place; `scratch` has room for four of them. */
export function packGroups<T extends GroupCodec>(
  w: usize,
  rows: i32,
  cols: i32,
  scratch: usize,
): void {
  const t = changetype<T>(0);
  const blocks = cols / (QUANTISED_GROUP * t.groups);
  const rowBytes = <usize>blocks * t.bytes;
  const factor = Parts.factor<T>();
  for (let r = 0; r < rows; r += 4) {
    memory.copy(scratch, w, 4 * rowBytes);
    let from = scratch;
    for (let b = 0; b < blocks; b++) {
      for (let i: usize = 0; i < 4; i++) {
        const row = from + i * rowBytes;
        if (factor == 2) store<u16>(w + 2 * i, load<u16>(row + t.factorAt));
        if (factor == 1) store<u8>(w + i, load<u8>(row + t.factorAt));
      }
      for (let word = 0; word < Parts.count<T>(); word++) {
        const at = from + Parts.words<T>() + ((<usize>word) << 2);
        let v = v128.load_splat<u32>(at);
        v = v128.load_lane<u32>(at + rowBytes, v, 1);
        v = v128.load_lane<u32>(at + 2 * rowBytes, v, 2);
        v = v128.load_lane<u32>(at + 3 * rowBytes, v, 3);
        if (word == t.fifthsWord) v = packedFifths(v);
        v128.store(w + Parts.vector<T>(word), v);
      }
      from += t.bytes;
      w += 4 * t.bytes;
    }
  }
}

/** dst = row `row` of four packed rows of `cols` weights at `src`, in the file's form. */
export function unpackGroupRow<T extends GroupCodec>(
  dst: usize,
  src: usize,
  row: i32,
  cols: i32,
): void {
  const t = changetype<T>(0);
  const factor = Parts.factor<T>();
  const factorAt = factor * <usize>row;
  const wordAt = (<usize>row) << 2;
  for (let left = cols; left > 0; left -= QUANTISED_GROUP * t.groups) {
    if (factor == 2) store<u16>(dst + t.factorAt, load<u16>(src + factorAt));
    if (factor == 1) store<u8>(dst + t.factorAt, load<u8>(src + factorAt));
    for (let word = 0; word < Parts.count<T>(); word++) {
      let bits = load<u32>(src + Parts.vector<T>(word) + wordAt);
      if (word == t.fifthsWord) bits = fifthsOfRow(bits);
      store<u32>(dst + Parts.words<T>() + ((<usize>word) << 2), bits);
    }
    src += 4 * t.bytes;
    dst += t.bytes;
  }
}
