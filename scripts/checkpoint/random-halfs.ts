/** Random weights at the speed of the disk: parts of one pool, from a new place each time. */

import { Random } from '../../src/engine/random.ts';
import { toF16 } from './halfs.ts';

const poolValues = 1024 * 1024;

/** This many values of a normal distribution. */
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
      // Starts at a random place of the pool, so that no two rows are alike.
      const start = 2 * Math.floor((places.next() * poolValues) / 2);
      const part = pool.subarray(start, Math.min(pool.length, start + left));
      left -= part.length;
      yield part;
    }
  };
}

/**
 * The same for rows of `columns` that differ in only `rank` directions: columns are divided into `rank`
 * groups, and within a group a row's weights differ only in their sign, which is the column's.
 */
export function lowRankHalfs(
  { columns, rank }: { readonly columns: number; readonly rank: number },
  deviation: number,
  mean = 0,
): (bytes: number) => Generator<Uint8Array> {
  const random = new Random(3);
  const pool = normals(poolValues, 4);
  const choices = Uint16Array.from(
    { length: columns },
    (_, column) => 2 * (column % rank) + (random.next() < 0.5 ? 1 : 0),
  );
  return function* (bytes) {
    const rows = bytes / (2 * columns);
    for (let first = 0; first < rows; first += 256) {
      const part = new Uint16Array(Math.min(256, rows - first) * columns);
      const weights = new Uint16Array(2 * rank);
      for (let at = 0; at < part.length; at += columns) {
        const start = Math.floor(random.next() * (poolValues - rank));
        for (let group = 0; group < rank; group++) {
          const weight = deviation * (pool[start + group] ?? 0);
          weights[2 * group] = toF16(mean + weight);
          weights[2 * group + 1] = toF16(mean - weight);
        }
        for (let i = 0; i < columns; i++) part[at + i] = weights[choices[i] ?? 0] ?? 0;
      }
      yield new Uint8Array(part.buffer);
    }
  };
}
