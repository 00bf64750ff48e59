/**
 * GGUF's formats with blocks of 32, as drawn in src/checkpoint/gguf/dequantise.ts: a factor, perhaps a
 * least value, 4 bits of each weight, and perhaps a fifth one.
 */
import { BITS_OF_TWO, EACH_15, EACH_16 } from './constants';
import {
  Q4_0_BLOCK_BYTES,
  Q4_1_BLOCK_BYTES,
  Q5_0_BLOCK_BYTES,
  Q5_1_BLOCK_BYTES,
} from './exports/shared-constants';
import { G, GroupCodec } from './group';

/** Code shared by these formats: a group is a block. */
@unmanaged
abstract class BlockOfGroup extends GroupCodec {
  @inline override get groups(): i32 {
    return 1;
  }
  @inline override get runs(): i32 {
    return 1;
  }
  @inline override get scaled(): bool {
    return false;
  }
  @inline override get factorAt(): usize {
    return 0;
  }
  @inline override get leastAt(): usize {
    return 2;
  }
  @inline override get low(): v128 {
    return EACH_15;
  }
  @inline override place(word: i32): i32 {
    return word;
  }
  /** Chunk c of the nibbles at p: of four words of each row, lower halves come first. */
  @inline static nibbles(p: usize, c: i32, low: v128): v128 {
    return G.nibble(v128.load(p + ((<usize>(c & 3)) << 4)), c > 3, low);
  }
}

@unmanaged
export class Q4_0 extends BlockOfGroup {
  @inline override get bytes(): usize {
    return Q4_0_BLOCK_BYTES;
  }
  @inline override get offset(): i32 {
    return 8;
  }
  @inline override get least(): i32 {
    return 0;
  }
  @inline override get pairs(): i32 {
    return 8;
  }
  @inline override get high(): v128 {
    return EACH_15;
  }
  @inline override get packedHigh(): v128 {
    return EACH_15;
  }
  @inline override half(w: usize, _h: usize, _g: i32, j: i32, low: v128, _high: v128): v128 {
    return G.nibble(v128.load(w, 2), j == 1, low);
  }
  @inline override heads(
    at: usize,
    _stride: usize,
    w0: usize,
    w1: usize,
    w2: usize,
    w3: usize,
  ): void {
    G.ownHead<Q4_0>(at, w0, w1, w2, w3);
  }
  @inline override get fifthsWord(): i32 {
    return -1;
  }
  @inline override fifths(_p: usize): v128 {
    return EACH_15;
  }
  @inline override chunk(
    p: usize,
    _h: usize,
    _g: i32,
    c: i32,
    _fifths: v128,
    low: v128,
    _high: v128,
  ): v128 {
    return BlockOfGroup.nibbles(p + 8, c, low);
  }
  @inline override packedHeads(at: usize, _stride: usize, p: usize): void {
    G.ownPackedHead<Q4_0>(at, p);
  }
}

@unmanaged
export class Q4_1 extends BlockOfGroup {
  @inline override get bytes(): usize {
    return Q4_1_BLOCK_BYTES;
  }
  @inline override get offset(): i32 {
    return 0;
  }
  @inline override get least(): i32 {
    return 1;
  }
  @inline override get pairs(): i32 {
    return 8;
  }
  @inline override get high(): v128 {
    return EACH_15;
  }
  @inline override get packedHigh(): v128 {
    return EACH_15;
  }
  @inline override half(w: usize, _h: usize, _g: i32, j: i32, low: v128, _high: v128): v128 {
    return G.nibble(v128.load(w, 4), j == 1, low);
  }
  @inline override heads(
    at: usize,
    _stride: usize,
    w0: usize,
    w1: usize,
    w2: usize,
    w3: usize,
  ): void {
    G.ownHead<Q4_1>(at, w0, w1, w2, w3);
  }
  @inline override get fifthsWord(): i32 {
    return -1;
  }
  @inline override fifths(_p: usize): v128 {
    return EACH_15;
  }
  @inline override chunk(
    p: usize,
    _h: usize,
    _g: i32,
    c: i32,
    _fifths: v128,
    low: v128,
    _high: v128,
  ): v128 {
    return BlockOfGroup.nibbles(p + 16, c, low);
  }
  @inline override packedHeads(at: usize, _stride: usize, p: usize): void {
    G.ownPackedHead<Q4_1>(at, p);
  }
}

@unmanaged
export class Q5_0 extends BlockOfGroup {
  @inline override get bytes(): usize {
    return Q5_0_BLOCK_BYTES;
  }
  @inline override get offset(): i32 {
    return 16;
  }
  @inline override get least(): i32 {
    return 0;
  }
  @inline override get pairs(): i32 {
    return 8;
  }
  @inline override get high(): v128 {
    return BITS_OF_TWO;
  }
  @inline override get packedHigh(): v128 {
    return EACH_16;
  }
  @inline override half(w: usize, _h: usize, _g: i32, j: i32, low: v128, high: v128): v128 {
    const fifth = G.fifth(w + 2 + ((<usize>j) << 1), high);
    return v128.or(G.nibble(v128.load(w, 6), j == 1, low), fifth);
  }
  @inline override heads(
    at: usize,
    _stride: usize,
    w0: usize,
    w1: usize,
    w2: usize,
    w3: usize,
  ): void {
    G.ownHead<Q5_0>(at, w0, w1, w2, w3);
  }
  @inline override get fifthsWord(): i32 {
    return 0;
  }
  @inline override fifths(p: usize): v128 {
    return v128.load(p, 8);
  }
  @inline override chunk(
    p: usize,
    _h: usize,
    _g: i32,
    c: i32,
    fifths: v128,
    low: v128,
    high: v128,
  ): v128 {
    const four = BlockOfGroup.nibbles(p + 24, c, low);
    return v128.or(four, G.fifthOf(fifths, c, high));
  }
  @inline override packedHeads(at: usize, _stride: usize, p: usize): void {
    G.ownPackedHead<Q5_0>(at, p);
  }
}

@unmanaged
export class Q5_1 extends BlockOfGroup {
  @inline override get bytes(): usize {
    return Q5_1_BLOCK_BYTES;
  }
  @inline override get offset(): i32 {
    return 0;
  }
  @inline override get least(): i32 {
    return 1;
  }
  @inline override get pairs(): i32 {
    return 4;
  }
  @inline override get high(): v128 {
    return BITS_OF_TWO;
  }
  @inline override get packedHigh(): v128 {
    return EACH_16;
  }
  @inline override half(w: usize, _h: usize, _g: i32, j: i32, low: v128, high: v128): v128 {
    const fifth = G.fifth(w + 4 + ((<usize>j) << 1), high);
    return v128.or(G.nibble(v128.load(w, 8), j == 1, low), fifth);
  }
  @inline override heads(
    at: usize,
    _stride: usize,
    w0: usize,
    w1: usize,
    w2: usize,
    w3: usize,
  ): void {
    G.ownHead<Q5_1>(at, w0, w1, w2, w3);
  }
  @inline override get fifthsWord(): i32 {
    return 1;
  }
  @inline override fifths(p: usize): v128 {
    return v128.load(p, 16);
  }
  @inline override chunk(
    p: usize,
    _h: usize,
    _g: i32,
    c: i32,
    fifths: v128,
    low: v128,
    high: v128,
  ): v128 {
    const four = BlockOfGroup.nibbles(p + 32, c, low);
    return v128.or(four, G.fifthOf(fifths, c, high));
  }
  @inline override packedHeads(at: usize, _stride: usize, p: usize): void {
    G.ownPackedHead<Q5_1>(at, p);
  }
}
