/**
 * Turns a predictor's scores into lists of neurons. The neurons that a position selects are a row of bits:
 * bit i is neuron i, 32 to a word.
 */

/**
 * Bits [first, first + n) of each position's row become scores[p, i] > 0; `first` is a multiple of
 * 32, and bits after the end, up to the next multiple of 32, become 0. scoreStride in elements,
 * bitStride in words.
 */
export function positiveBits(
  bits: usize,
  scores: usize,
  first: i32,
  n: i32,
  positions: i32,
  scoreStride: usize,
  bitStride: usize,
): void {
  for (let p = 0; p < positions; p++) {
    const row = scores + ((<usize>p * scoreStride) << 2);
    let word = bits + ((<usize>p * bitStride) << 2) + (<usize>first >> 3);
    for (let i = 0; i < n; i += 32, word += 4) {
      store<u32>(word, n - i >= 32 ? bits32(row + ((<usize>i) << 2)) : tail(row, i, n));
    }
  }
}

function bits32(at: usize): u32 {
  let word: u32 = 0;
  for (let k = 0; k < 32; k += 4) {
    const v = v128.load(at + ((<usize>k) << 2));
    word |= (<u32>i32x4.bitmask(f32x4.gt(v, f32x4.splat(0)))) << k;
  }
  return word;
}

function tail(row: usize, from: i32, n: i32): u32 {
  let word: u32 = 0;
  for (let i = from; i < n; i++) {
    word |= u32(load<f32>(row + ((<usize>i) << 2)) > 0) << (i - from);
  }
  return word;
}

/** Writes the ids that any position selects to `ids` (u32), ascending; returns their number. */
export function unionIds(
  ids: usize,
  bits: usize,
  words: i32,
  positions: i32,
  bitStride: usize,
): i32 {
  let count = 0;
  for (let w = 0; w < words; w++) {
    let word: u32 = 0;
    for (let p = 0; p < positions; p++) {
      word |= load<u32>(bits + ((<usize>p * bitStride + w) << 2));
    }
    while (word != 0) {
      store<u32>(ids + ((<usize>count) << 2), (w << 5) + ctz(word));
      count++;
      word &= word - 1;
    }
  }
  return count;
}

/**
 * dst[p, i] = src[p, order[i]] where position p selects neuron ids[i], else 0. Strides of dst and src in
 * elements, of bits in words.
 */
export function wantedActs(
  dst: usize,
  src: usize,
  order: usize,
  ids: usize,
  bits: usize,
  count: i32,
  positions: i32,
  dstStride: usize,
  srcStride: usize,
  bitStride: usize,
): void {
  for (let p = 0; p < positions; p++) {
    const to = dst + ((<usize>p * dstStride) << 2);
    const from = src + ((<usize>p * srcStride) << 2);
    const row = bits + ((<usize>p * bitStride) << 2);
    for (let i = 0; i < count; i++) {
      const at = (<usize>i) << 2;
      const id = load<u32>(ids + at);
      const wanted = (load<u32>(row + ((<usize>id >> 5) << 2)) >> (id & 31)) & 1;
      const value = load<f32>(from + ((<usize>load<u32>(order + at)) << 2));
      store<f32>(to + at, wanted ? value : 0);
    }
  }
}
