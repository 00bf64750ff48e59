/** Rounds rows of f32 to 8 bits with one scale per row, as models with ternary weights define. */
import { V } from './vector';

const LEVELS: f32 = 127;
/** The least value used for a row's largest magnitude. */
const TOP_MIN: f32 = 1e-5;

/** x[p] = round(x[p] s) / s with s = 127 / largest magnitude. Stride in elements. */
export function roundRows(x: usize, n: i32, positions: i32, xStride: usize): void {
  for (let p = 0; p < positions; p++) {
    const row = x + ((<usize>p * xStride) << 2);
    let top4 = f32x4.splat(TOP_MIN);
    for (let c = 0; c < n; c += 4) {
      top4 = f32x4.max(top4, f32x4.abs(V.loadLanes(row + ((<usize>c) << 2), n - c)));
    }
    top4 = f32x4.max(top4, i32x4.shuffle(top4, top4, 2, 3, 0, 1));
    const top = max(f32x4.extract_lane(top4, 0), f32x4.extract_lane(top4, 1));
    const scale = f32x4.splat(LEVELS / top);
    for (let c = 0; c < n; c += 4) {
      const at = row + ((<usize>c) << 2);
      const rounded = f32x4.nearest(f32x4.mul(V.loadLanes(at, n - c), scale));
      V.storeLanes(at, f32x4.div(rounded, scale), min(n - c, 4));
    }
  }
}
