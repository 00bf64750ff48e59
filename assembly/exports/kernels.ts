/** The kernels that depend on no format. Written by "npm run generate". */

import { attention as attentionOf } from '../attention';
import { F16, Unpacked } from '../dtype';

export { copyRows, readSum, transpose16, transpose32 } from '../convert';
export {
  activation,
  add,
  clamp,
  clampedGate,
  countActive,
  fold,
  multiply,
  scale,
  softCap,
} from '../math';
export { layerNorm, rmsNorm } from '../norm';
export { rotaryHalves, rotaryInterleaved } from '../rotary';
export { roundRows } from '../rounding';
export { addChoices, gatherRows } from '../routed';
export { positiveBits, unionIds, wantedActs } from '../select';
export { adamw, gemm, logisticGradient } from '../train';

export function attention(
  out: usize,
  q: usize,
  rows: usize,
  keys: usize,
  values: usize,
  scores: usize,
  headStart: i32,
  headEnd: i32,
  group: i32,
  headDim: i32,
  kvStride: usize,
  qStride: usize,
  outStride: usize,
  length: i32,
  positions: i32,
  scale: f32,
  window: i32,
  bias: usize,
  biasStride: usize,
  biasScale: f32,
  softCap: f32,
  sinks: usize,
): void {
  attentionOf<Unpacked>(
    out,
    q,
    rows,
    keys,
    values,
    scores,
    headStart,
    headEnd,
    group,
    headDim,
    kvStride,
    qStride,
    outStride,
    length,
    positions,
    scale,
    window,
    bias,
    biasStride,
    biasScale,
    softCap,
    sinks,
  );
}

export function attentionF16(
  out: usize,
  q: usize,
  rows: usize,
  keys: usize,
  values: usize,
  scores: usize,
  headStart: i32,
  headEnd: i32,
  group: i32,
  headDim: i32,
  kvStride: usize,
  qStride: usize,
  outStride: usize,
  length: i32,
  positions: i32,
  scale: f32,
  window: i32,
  bias: usize,
  biasStride: usize,
  biasScale: f32,
  softCap: f32,
  sinks: usize,
): void {
  attentionOf<F16>(
    out,
    q,
    rows,
    keys,
    values,
    scores,
    headStart,
    headEnd,
    group,
    headDim,
    kvStride,
    qStride,
    outStride,
    length,
    positions,
    scale,
    window,
    bias,
    biasStride,
    biasScale,
    softCap,
    sinks,
  );
}
