/** Random weights at the speed of the disk: parts of one pool, from a new place each time. */

import { Random } from '../../src/engine/random.ts';
import { toF16 } from './halfs.ts';

const poolValues = 1024 * 1024;

/** So many values of a normal distribution. */
export function normals(count: number, seed: number): Float32Array {
  const values = new Random(seed);
  return Float32Array.from({ length: count }, () => {
    const radius = Math.sqrt(-2 * Math.log(1 - values.next()));
    return radius * Math.cos(2 * Math.PI * values.next());
  });
}

/** A function that gives `bytes` of f16 weights of this deviation and mean, in parts. */
export function randomHalfs(deviation = 0.02, mean = 0): (bytes: number) => Generator<Uint8Array> {
  const pool = Buffer.from(
    Uint16Array.from(normals(poolValues, 1), (value) => toF16(mean + deviation * value)).buffer,
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
