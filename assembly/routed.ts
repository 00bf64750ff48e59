/**
 * Gathers rows of a batch for the experts that they use, and adds up the experts' contributions.
 *
 *     choices, 12 bytes each:  | row of contributions, u32 | expert, u32 | weight, f32 |
 */
import { CHOICE_BYTES } from './exports/shared-constants';

/** The row of contributions of an unused choice: all later choices are unused, too. */
const NO_CHOICE: u32 = 0xffffffff;

/** dst[i] = src[rows[i]] for i in [0, count), of n elements each. */
export function gatherRows(dst: usize, src: usize, rows: usize, count: i32, n: i32): void {
  const bytes = (<usize>n) << 2;
  for (; count > 0; count--, dst += bytes, rows += 4) {
    memory.copy(dst, src + <usize>load<u32>(rows) * bytes, bytes);
  }
}

/** y[0..n) += (x[0..n) + bias[0..n)) weight */
function addBiased(y: usize, x: usize, bias: usize, weight: f32, n: i32): void {
  const w = f32x4.splat(weight);
  for (; n >= 4; n -= 4, x += 16, y += 16, bias += 16) {
    const own = f32x4.mul(f32x4.add(v128.load(x), v128.load(bias)), w);
    v128.store(y, f32x4.add(v128.load(y), own));
  }
  for (; n > 0; n--, x += 4, y += 4, bias += 4) {
    const own: f32 = (load<f32>(x) + load<f32>(bias)) * weight;
    store<f32>(y, load<f32>(y) + own);
  }
}

/** y[0..n) += x[0..n) weight */
function addWeighted(y: usize, x: usize, weight: f32, n: i32): void {
  const w = f32x4.splat(weight);
  for (; n >= 4; n -= 4, x += 16, y += 16) {
    v128.store(y, f32x4.add(v128.load(y), f32x4.mul(v128.load(x), w)));
  }
  for (; n > 0; n--, x += 4, y += 4) {
    const own: f32 = load<f32>(x) * weight;
    store<f32>(y, load<f32>(y) + own);
  }
}

/**
 * y[p] += (contributions[row] + bias[expert]) weight of n elements, for each of position p's `each` choices
 * in their order; without `bias`, y[p] += contributions[row] weight.
 */
export function addChoices(
  y: usize,
  contributions: usize,
  bias: usize,
  choices: usize,
  positions: i32,
  each: i32,
  n: i32,
): void {
  const rowBytes = (<usize>n) << 2;
  for (; positions > 0; positions--, y += rowBytes) {
    const end = choices + <usize>each * CHOICE_BYTES;
    for (let choice = choices; choice < end; choice += CHOICE_BYTES) {
      const row = load<u32>(choice);
      if (row == NO_CHOICE) break;
      const x = contributions + <usize>row * rowBytes;
      const weight = load<f32>(choice, 8);
      if (bias == 0) addWeighted(y, x, weight, n);
      else addBiased(y, x, bias + <usize>load<u32>(choice, 4) * rowBytes, weight, n);
    }
    choices = end;
  }
}
