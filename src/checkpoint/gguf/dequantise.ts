/**
 * Blocks of quantised weights to f32. Sums and products are of numbers with few bits, so that they
 * are exact in double precision and rounded once, when stored: the results are those of the
 * reference implementation in f32, bit for bit.
 *
 * All numbers are little-endian; d and m are f16, q[i] is the block's value i, and `low` and `high`
 * are the two halves of a byte.
 *
 *     Q8_0   | d | q0 .. q31, i8 |                                            d q
 *     Q4_0   | d | 16 bytes: low q[i] + 8, high q[16 + i] + 8 |               d q
 *     Q4_1   | d | m | 16 bytes: low q[i], high q[16 + i] |                   d q + m
 *     Q5_0   | d | fifth bits, u32 | as Q4_0, + 16 with the fifth bit |       d q
 *     Q5_1   | d | m | fifth bits, u32 | as Q4_1, with the fifth bit |        d q + m
 *     Q4_K   | d | m | 12 bytes: scales and minima of 8 runs, 6 bits each |
 *            | 4 x 32 bytes: low is run 2k, high run 2k + 1 |                 d scale q - m min
 *     Q6_K   | 2 x 64 bytes of low halves | 2 x 32 bytes of upper two bits |
 *            | scales of 16 runs, i8 | d |                                    d scale (q - 32)
 */

/**
 * Dequantises `blocks` blocks that begin at byte `at` of `bytes` into `out`, from index `to` on.
 */
export type Dequantise = (
  bytes: Uint8Array,
  at: number,
  blocks: number,
  out: Float32Array,
  to: number,
) => void;

/** Every f16 as a number; filled at the first use. 512 KiB. */
let halves: Float64Array | undefined;

function halvesTable(): Float64Array {
  if (halves !== undefined) return halves;
  halves = new Float64Array(65_536);
  for (let bits = 0; bits < halves.length; bits++) {
    const exponent = (bits >> 10) & 31;
    const fraction = bits & 1023;
    const sign = bits >> 15 === 0 ? 1 : -1;
    halves[bits] =
      exponent === 0
        ? sign * fraction * 2 ** -24
        : exponent === 31
          ? sign * (fraction === 0 ? Number.POSITIVE_INFINITY : Number.NaN)
          : sign * (1024 + fraction) * 2 ** (exponent - 25);
  }
  return halves;
}

/** One block: from byte `at` of `bytes` to `out`, from index `to` on. */
type DequantiseBlock = (
  table: Float64Array,
  bytes: Uint8Array,
  at: number,
  out: Float32Array,
  to: number,
) => void;

function blockwise(blockBytes: number, elements: number, one: DequantiseBlock): Dequantise {
  return (bytes, at, blocks, out, to) => {
    const table = halvesTable();
    for (let block = 0; block < blocks; block++) {
      one(table, bytes, at + block * blockBytes, out, to + block * elements);
    }
  };
}

/** A little-endian u16. Bytes behind the end are a mistake of the caller. */
function u16(bytes: Uint8Array, at: number): number {
  return (bytes[at] as number) | ((bytes[at + 1] as number) << 8);
}

function half(table: Float64Array, bytes: Uint8Array, at: number): number {
  return table[u16(bytes, at)] as number;
}

/** Bytes taken for i8. */
const signed = (byte: number) => (byte << 24) >> 24;

export const dequantiseQ8_0 = blockwise(34, 32, (table, bytes, at, out, to) => {
  const d = half(table, bytes, at);
  for (let i = 0; i < 32; i++) out[to + i] = d * signed(bytes[at + 2 + i] as number);
});

export const dequantiseQ4_0 = blockwise(18, 32, (table, bytes, at, out, to) => {
  const d = half(table, bytes, at);
  for (let i = 0; i < 16; i++) {
    const pair = bytes[at + 2 + i] as number;
    out[to + i] = d * ((pair & 15) - 8);
    out[to + 16 + i] = d * ((pair >> 4) - 8);
  }
});

export const dequantiseQ4_1 = blockwise(20, 32, (table, bytes, at, out, to) => {
  const d = half(table, bytes, at);
  const m = half(table, bytes, at + 2);
  for (let i = 0; i < 16; i++) {
    const pair = bytes[at + 4 + i] as number;
    out[to + i] = d * (pair & 15) + m;
    out[to + 16 + i] = d * (pair >> 4) + m;
  }
});

export const dequantiseQ5_0 = blockwise(22, 32, (table, bytes, at, out, to) => {
  const d = half(table, bytes, at);
  const fifth = u16(bytes, at + 2) | (u16(bytes, at + 4) << 16);
  for (let i = 0; i < 16; i++) {
    const pair = bytes[at + 6 + i] as number;
    out[to + i] = d * (((pair & 15) | (((fifth >> i) & 1) << 4)) - 16);
    out[to + 16 + i] = d * (((pair >> 4) | (((fifth >> (16 + i)) & 1) << 4)) - 16);
  }
});

export const dequantiseQ5_1 = blockwise(24, 32, (table, bytes, at, out, to) => {
  const d = half(table, bytes, at);
  const m = half(table, bytes, at + 2);
  const fifth = u16(bytes, at + 4) | (u16(bytes, at + 6) << 16);
  for (let i = 0; i < 16; i++) {
    const pair = bytes[at + 8 + i] as number;
    out[to + i] = d * ((pair & 15) | (((fifth >> i) & 1) << 4)) + m;
    out[to + 16 + i] = d * ((pair >> 4) | (((fifth >> (16 + i)) & 1) << 4)) + m;
  }
});

/**
 * Of the 12 bytes, the first four hold the lower bits of scales 0-3, the next four those of minima
 * 0-3, the last four the lower four bits of scales and minima 4-7; the upper two bits of these are
 * the upper two of the first eight bytes.
 */
export const dequantiseQ4K = blockwise(144, 256, (table, bytes, at, out, to) => {
  const d = half(table, bytes, at);
  const m = half(table, bytes, at + 2);
  for (let run = 0; run < 8; run++) {
    const low = bytes[at + 4 + (run & 3)] as number;
    const high = bytes[at + 8 + (run & 3)] as number;
    const both = bytes[at + 12 + (run & 3)] as number;
    const scale = d * (run < 4 ? low & 63 : (both & 15) | ((low >> 6) << 4));
    const least = m * (run < 4 ? high & 63 : (both >> 4) | ((high >> 6) << 4));
    const from = at + 16 + (run >> 1) * 32;
    const shift = (run & 1) * 4;
    for (let i = 0; i < 32; i++) {
      out[to + run * 32 + i] = scale * (((bytes[from + i] as number) >> shift) & 15) - least;
    }
  }
});

export const dequantiseQ6K = blockwise(210, 256, (table, bytes, at, out, to) => {
  const d = half(table, bytes, at + 208);
  for (let run = 0; run < 16; run++) {
    // Eight groups of 32 values, two runs each; four groups share 64 + 32 bytes.
    const group = run >> 1;
    const within = (run & 1) * 16;
    const low = at + (group >> 2) * 64 + (group & 1) * 32 + within;
    const high = at + 128 + (group >> 2) * 32 + within;
    const lowShift = ((group >> 1) & 1) * 4;
    const highShift = (group & 3) * 2;
    const scale = d * signed(bytes[at + 192 + run] as number);
    for (let i = 0; i < 16; i++) {
      const q =
        (((bytes[low + i] as number) >> lowShift) & 15) |
        ((((bytes[high + i] as number) >> highShift) & 3) << 4);
      out[to + run * 16 + i] = scale * (q - 32);
    }
  }
});
