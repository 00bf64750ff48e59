/**
 * Converts blocks of quantised weights to f32. The operands of sums and products have few bits, so the
 * results are exact in double precision and are rounded once, when stored: they equal those of the
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
 *     Q5_K   | d | m | 12 bytes as Q4_K | 32 bytes: bit r is the fifth of run r | as Q4_K |
 *     Q2_K   | 16 bytes, of runs: low is the scale, high the least value |
 *            | 2 x 32 bytes: two bits of each of 4 x 32 values | d | m |      d scale q - m min
 *     Q3_K   | 32 bytes: bit r is the third of 32 values | 2 x 32 bytes as Q2_K |
 *            | 12 bytes: scales of 16 runs, 6 bits each, + 32 | d |           d scale (q - 4)
 *     IQ4_NL | d | 16 bytes as Q4_0: numbers of integers |                    d integer
 *     IQ4_XS | d | upper bits of 8 scales, u16 | 4 bytes: lower halves of 2 scales |
 *            | 8 x 16 bytes of runs of 32, as IQ4_NL |               d (scale - 32) integer
 *     MXFP4  | exponent e, u8 | 16 bytes as Q4_0: numbers of integers |       2^(e - 128) integer
 *     TQ2_0  | 64 bytes: bits 2k and 2k + 1 of byte 32 h + j are 1 + q[128 h + 32 k + j] | d |   d q
 *     TQ1_0  | 48 bytes of five, 4 bytes of four numbers 1 + q to base 3 | d |       d q
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

/** A little-endian u16. Reading beyond the end is a bug in the caller. */
function u16(bytes: Uint8Array, at: number): number {
  return (bytes[at] as number) | ((bytes[at + 1] as number) << 8);
}

function half(table: Float64Array, bytes: Uint8Array, at: number): number {
  return table[u16(bytes, at)] as number;
}

/** The bytes as i8. */
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
 * Blocks in which four bits are an index into a table of integers; the first `scaleBytes` bytes hold their
 * scale.
 */
function numbered(
  integers: readonly number[],
  scaleBytes: number,
  scale: (table: Float64Array, bytes: Uint8Array, at: number) => number,
): Dequantise {
  return blockwise(scaleBytes + 16, 32, (table, bytes, at, out, to) => {
    const d = scale(table, bytes, at);
    for (let i = 0; i < 16; i++) {
      const pair = bytes[at + scaleBytes + i] as number;
      out[to + i] = d * (integers[pair & 15] as number);
      out[to + 16 + i] = d * (integers[pair >> 4] as number);
    }
  });
}

const iq4Integers = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

export const dequantiseIq4Nl = numbered(iq4Integers, 2, half);

export const dequantiseIq4Xs = blockwise(136, 256, (table, bytes, at, out, to) => {
  const d = half(table, bytes, at);
  const upper = u16(bytes, at + 2);
  for (let run = 0; run < 8; run++) {
    const lower = ((bytes[at + 4 + (run >> 1)] as number) >> ((run & 1) * 4)) & 15;
    const scale = d * ((lower | (((upper >> (2 * run)) & 3) << 4)) - 32);
    const from = at + 8 + run * 16;
    for (let i = 0; i < 16; i++) {
      const pair = bytes[from + i] as number;
      out[to + run * 32 + i] = scale * (iq4Integers[pair & 15] as number);
      out[to + run * 32 + 16 + i] = scale * (iq4Integers[pair >> 4] as number);
    }
  }
});

/** The integers are twice the numbers that E2M1 encodes, so the power of two is halved. */
export const dequantiseMxfp4 = numbered(
  [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12],
  1,
  (_table, bytes, at) => 2 ** ((bytes[at] as number) - 128),
);

/**
 * Of the 12 bytes, the first four hold the lower bits of scales 0-3, the next four those of minima
 * 0-3, the last four the lower four bits of scales and minima 4-7; the upper two bits of these are
 * the upper two of the first eight bytes.
 */
function scaleAndLeast(bytes: Uint8Array, at: number, run: number): [number, number] {
  const low = bytes[at + (run & 3)] as number;
  const high = bytes[at + 4 + (run & 3)] as number;
  const both = bytes[at + 8 + (run & 3)] as number;
  return run < 4
    ? [low & 63, high & 63]
    : [(both & 15) | ((low >> 6) << 4), (both >> 4) | ((high >> 6) << 4)];
}

export const dequantiseQ4K = blockwise(144, 256, (table, bytes, at, out, to) => {
  const d = half(table, bytes, at);
  const m = half(table, bytes, at + 2);
  for (let run = 0; run < 8; run++) {
    const [scale, least] = scaleAndLeast(bytes, at + 4, run);
    const from = at + 16 + (run >> 1) * 32;
    const shift = (run & 1) * 4;
    for (let i = 0; i < 32; i++) {
      out[to + run * 32 + i] =
        d * scale * (((bytes[from + i] as number) >> shift) & 15) - m * least;
    }
  }
});

export const dequantiseQ5K = blockwise(176, 256, (table, bytes, at, out, to) => {
  const d = half(table, bytes, at);
  const m = half(table, bytes, at + 2);
  for (let run = 0; run < 8; run++) {
    const [scale, least] = scaleAndLeast(bytes, at + 4, run);
    const from = at + 48 + (run >> 1) * 32;
    const shift = (run & 1) * 4;
    for (let i = 0; i < 32; i++) {
      const fifth = ((bytes[at + 16 + i] as number) >> run) & 1;
      const q = (((bytes[from + i] as number) >> shift) & 15) | (fifth << 4);
      out[to + run * 32 + i] = d * scale * q - m * least;
    }
  }
});

export const dequantiseQ2K = blockwise(84, 256, (table, bytes, at, out, to) => {
  const d = half(table, bytes, at + 80);
  const m = half(table, bytes, at + 82);
  for (let run = 0; run < 16; run++) {
    const both = bytes[at + run] as number;
    const from = at + 16 + (run >> 3) * 32 + (run & 1) * 16;
    const shift = ((run >> 1) & 3) * 2;
    for (let i = 0; i < 16; i++) {
      const q = ((bytes[from + i] as number) >> shift) & 3;
      out[to + run * 16 + i] = d * (both & 15) * q - m * (both >> 4);
    }
  }
});

/** Of the 12 bytes, eight hold the lower four bits of scales 0-7, and of 8-15; four the other two bits. */
export const dequantiseQ3K = blockwise(110, 256, (table, bytes, at, out, to) => {
  const d = half(table, bytes, at + 108);
  for (let run = 0; run < 16; run++) {
    const four = ((bytes[at + 96 + (run & 7)] as number) >> (run < 8 ? 0 : 4)) & 15;
    const two = ((bytes[at + 104 + (run & 3)] as number) >> ((run >> 2) * 2)) & 3;
    const scale = d * ((four | (two << 4)) - 32);
    const within = (run & 1) * 16;
    const from = at + 32 + (run >> 3) * 32 + within;
    const shift = ((run >> 1) & 3) * 2;
    for (let i = 0; i < 16; i++) {
      const third = ((bytes[at + within + i] as number) >> (run >> 1)) & 1;
      const q = (((bytes[from + i] as number) >> shift) & 3) | (third << 2);
      out[to + run * 16 + i] = scale * (q - 4);
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

export const dequantiseTq2_0 = blockwise(66, 256, (table, bytes, at, out, to) => {
  const d = table[u16(bytes, at + 64)] as number;
  for (let i = 0; i < 256; i++) {
    const byte = bytes[at + 32 * (i >> 7) + (i & 31)] as number;
    const bits = (byte >> (2 * ((i >> 5) & 3))) & 3;
    // No weight is 2: a block with a 2 is damaged.
    out[to + i] = bits === 3 ? Number.NaN : d * (bits - 1);
  }
});

/**
 * Runs of bytes of TQ1_0: where each begins, how many bytes it has, and how many base-3 digits are in each
 * byte.
 */
const ternaryRuns = [
  [0, 32, 5],
  [32, 16, 5],
  [48, 4, 4],
] as const;

/** A byte is its digits as a fraction of 243, times 256, rounded up: the upper byte of thrice it is the first. */
export const dequantiseTq1_0 = blockwise(54, 256, (table, bytes, at, out, to) => {
  const d = table[u16(bytes, at + 52)] as number;
  let i = to;
  for (const [from, count, digits] of ternaryRuns) {
    for (let digit = 0, power = 1; digit < digits; digit++, power *= 3) {
      for (let j = 0; j < count; j++) {
        const rest = ((bytes[at + from + j] as number) * power) & 255;
        out[i++] = d * (((rest * 3) >> 8) - 1);
      }
    }
  }
});
