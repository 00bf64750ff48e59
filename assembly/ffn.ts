/**
 * The feed-forward block over bundles: resident slots, streamed pieces and sparse lists alike are
 * lists of addresses.
 *
 *     bundle = neuron i              ptrs[i]                       ptrs[i] + downOffset
 *                                    | up row, cols x T ......... | down column, cols x T ...... |
 *
 *     acts[p, i] = act(dot(up_i, x_p) + bias_i)        ffnUp, or ffnGatedUp
 *     y[p, c]   += sum_i acts[p, i] down_i[c]          ffn-down.ts
 */
import { activation, add, countActive, hasZeros, multiply, multiplyNonZero } from './math';
import { Dots, NeuronDots } from './matmul';

/**
 * If fewer than one in this many gates of several positions have fired, up rows are multiplied only with
 * those positions; else with all positions, which takes less time for each product. The results are
 * the same.
 */
const FEW: i32 = 2;

/** acts[p, i] = act(dot(up_i, x_p) + bias[i]); bias is f32, or 0 for none. Strides in elements. */
export function ffnUp<D extends Dots>(
  acts: usize,
  x: usize,
  ptrs: usize,
  bias: usize,
  count: i32,
  cols: i32,
  positions: i32,
  xStride: usize,
  actStride: usize,
  code: i32,
  scratch: usize,
  threshold: f32,
): void {
  changetype<D>(0).dots(
    acts,
    x,
    0,
    ptrs,
    count,
    cols,
    positions,
    xStride,
    actStride,
    scratch,
    false,
  );
  for (let p = 0; p < positions; p++) {
    const row = acts + ((<usize>p * actStride) << 2);
    if (bias != 0) add(row, bias, count);
    activation(row, count, code, threshold);
  }
}

/**
 * For gated networks, whose bundles are | gate row | up row | down column |, the up row `upOffset`
 * bytes into the bundle: acts[p, i] = act(dot(gate_i, x_p) + gateBias[i]) up(dot(up_i, x_p) +
 * upBias[i]), both functions given by their codes; biases 0 for none. `gates` is scratch of the shape
 * of acts.
 *
 * If the gate's function is exactly 0 for most neurons, so is the result, and only the up rows of the
 * other neurons are needed.
 */
export function ffnGatedUp<D extends NeuronDots>(
  acts: usize,
  gates: usize,
  x: usize,
  ptrs: usize,
  upOffset: usize,
  gateBias: usize,
  upBias: usize,
  count: i32,
  cols: i32,
  positions: i32,
  xStride: usize,
  actStride: usize,
  code: i32,
  upCode: i32,
  scratch: usize,
  threshold: f32,
): void {
  const d = changetype<D>(0);
  const zeros = hasZeros(code);
  d.dots(gates, x, 0, ptrs, count, cols, positions, xStride, actStride, scratch, false);
  let fired = 0;
  for (let p = 0; p < positions; p++) {
    const row = gates + ((<usize>p * actStride) << 2);
    if (gateBias != 0) add(row, gateBias, count);
    activation(row, count, code, threshold);
    if (zeros) fired += countActive(row, count);
  }
  if (zeros && (positions == 1 || fired * FEW < count * positions)) {
    d.activeDots(
      acts,
      gates,
      x,
      upOffset,
      ptrs,
      count,
      cols,
      positions,
      xStride,
      actStride,
      scratch,
    );
  } else {
    d.dots(acts, x, upOffset, ptrs, count, cols, positions, xStride, actStride, scratch, false);
  }
  for (let p = 0; p < positions; p++) {
    const offset = (<usize>p * actStride) << 2;
    if (upBias != 0) add(acts + offset, upBias, count);
    activation(acts + offset, count, upCode, threshold);
    if (zeros) multiplyNonZero(acts + offset, gates + offset, count);
    else multiply(acts + offset, gates + offset, count);
  }
}
