/** Random f16 weights at the speed of the disk: parts of one pool, from a new place each time. */

import { Random } from '../src/engine/random.ts';

const poolValues = 4 * 1024 * 1024;

/** A function that gives `bytes` of weights with a deviation of 0.02, in parts. */
export function randomHalfs(): (bytes: number) => Generator<Uint8Array> {
  const values = new Random(1);
  const pool = Buffer.from(
    Uint16Array.from({ length: poolValues }, () => {
      const radius = Math.sqrt(-2 * Math.log(1 - values.next()));
      return toF16(0.02 * radius * Math.cos(2 * Math.PI * values.next()));
    }).buffer,
  );
  const places = new Random(2);
  return function* (bytes) {
    for (let left = bytes; left > 0; ) {
      // Any place of the pool to begin with, so that no two rows are alike.
      const start = 2 * Math.floor((places.next() * poolValues) / 2);
      const part = pool.subarray(start, Math.min(pool.length, start + left));
      left -= part.length;
      yield part;
    }
  };
}

/** Nearest f16 of a value well inside its range; tiny ones become zero. */
function toF16(value: number): number {
  const magnitude = Math.abs(value);
  if (magnitude < 2 ** -14) return 0;
  const exponent = Math.floor(Math.log2(magnitude));
  const mantissa = Math.min(1023, Math.round((magnitude / 2 ** exponent - 1) * 1024));
  return (value < 0 ? 0x8000 : 0) | ((exponent + 15) << 10) | mantissa;
}
