/**
 * The exports of the compute core: pure functions over addresses in one shared memory, without
 * allocation or state of their own. What each computes is said where it is defined; here
 * every format gets its own copy of every kernel. src/kernels/kernels.ts is the other side.
 */
import { attention } from './attention';
import { Q4, Q8, UnpackedBlock } from './block';
import {
  FromBF16,
  FromF16,
  firstNonFinite16,
  firstNonFinite32,
  fromF32,
  ToBF16,
  ToF16,
  toF32,
} from './convert';
import { BF16, F16, F32, Unpacked } from './dtype';
import { ffnDown, ffnGatedUp, ffnUp, PlainColumns, QuantisedColumns } from './ffn';
import { matmul, PlainDots, QuantisedDots } from './matmul';
import { blocksToF32, f32ToBlocks, firstNonFiniteBlock, MakeQ4, MakeQ8 } from './quantise';

export { copy_rows, read_sum, transpose_16, transpose_32 } from './convert';
export { activation, add, multiply, scale } from './math';
export { layer_norm, rms_norm } from './norm';
export { rotary_halves, rotary_neighbours } from './rotary';

export function attention_f32(
  out: usize,
  q: usize,
  k: usize,
  v: usize,
  scores: usize,
  headStart: i32,
  headEnd: i32,
  group: i32,
  headDim: i32,
  kvStride: usize,
  qStride: usize,
  outStride: usize,
  start: i32,
  positions: i32,
  scale: f32,
): void {
  attention<Unpacked>(
    out,
    q,
    k,
    v,
    scores,
    headStart,
    headEnd,
    group,
    headDim,
    kvStride,
    qStride,
    outStride,
    start,
    positions,
    scale,
  );
}
export function attention_f16(
  out: usize,
  q: usize,
  k: usize,
  v: usize,
  scores: usize,
  headStart: i32,
  headEnd: i32,
  group: i32,
  headDim: i32,
  kvStride: usize,
  qStride: usize,
  outStride: usize,
  start: i32,
  positions: i32,
  scale: f32,
): void {
  attention<F16>(
    out,
    q,
    k,
    v,
    scores,
    headStart,
    headEnd,
    group,
    headDim,
    kvStride,
    qStride,
    outStride,
    start,
    positions,
    scale,
  );
}

export function matmul_f32(
  y: usize,
  x: usize,
  w: usize,
  bias: usize,
  rows: i32,
  cols: i32,
  positions: i32,
  xStride: usize,
  yStride: usize,
  scratch: usize,
): void {
  matmul<PlainDots<F32>>(y, x, w, bias, rows, cols, positions, xStride, yStride, scratch);
}
export function ffn_up_f32(
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
): void {
  ffnUp<PlainDots<F32>>(
    acts,
    x,
    ptrs,
    bias,
    count,
    cols,
    positions,
    xStride,
    actStride,
    code,
    scratch,
  );
}
export function ffn_gated_up_f32(
  acts: usize,
  gates: usize,
  x: usize,
  ptrs: usize,
  upOffset: usize,
  count: i32,
  cols: i32,
  positions: i32,
  xStride: usize,
  actStride: usize,
  code: i32,
  scratch: usize,
): void {
  ffnGatedUp<PlainDots<F32>>(
    acts,
    gates,
    x,
    ptrs,
    upOffset,
    count,
    cols,
    positions,
    xStride,
    actStride,
    code,
    scratch,
  );
}
export function ffn_down_f32(
  y: usize,
  acts: usize,
  ptrs: usize,
  downOffset: usize,
  count: i32,
  colStart: i32,
  colEnd: i32,
  positions: i32,
  yStride: usize,
  actStride: usize,
  scratch: usize,
): void {
  ffnDown<PlainColumns<F32>, PlainColumns<Unpacked>>(
    y,
    acts,
    ptrs,
    downOffset,
    count,
    colStart,
    colEnd,
    positions,
    yStride,
    actStride,
    scratch,
  );
}
export function f32_to_f32(dst: usize, src: usize, n: i32): void {
  memory.copy(dst, src, (<usize>n) << 2);
}
export function first_non_finite_f32(src: usize, n: i32): i32 {
  return firstNonFinite32(src, n);
}

export function matmul_f16(
  y: usize,
  x: usize,
  w: usize,
  bias: usize,
  rows: i32,
  cols: i32,
  positions: i32,
  xStride: usize,
  yStride: usize,
  scratch: usize,
): void {
  matmul<PlainDots<F16>>(y, x, w, bias, rows, cols, positions, xStride, yStride, scratch);
}
export function ffn_up_f16(
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
): void {
  ffnUp<PlainDots<F16>>(
    acts,
    x,
    ptrs,
    bias,
    count,
    cols,
    positions,
    xStride,
    actStride,
    code,
    scratch,
  );
}
export function ffn_gated_up_f16(
  acts: usize,
  gates: usize,
  x: usize,
  ptrs: usize,
  upOffset: usize,
  count: i32,
  cols: i32,
  positions: i32,
  xStride: usize,
  actStride: usize,
  code: i32,
  scratch: usize,
): void {
  ffnGatedUp<PlainDots<F16>>(
    acts,
    gates,
    x,
    ptrs,
    upOffset,
    count,
    cols,
    positions,
    xStride,
    actStride,
    code,
    scratch,
  );
}
export function ffn_down_f16(
  y: usize,
  acts: usize,
  ptrs: usize,
  downOffset: usize,
  count: i32,
  colStart: i32,
  colEnd: i32,
  positions: i32,
  yStride: usize,
  actStride: usize,
  scratch: usize,
): void {
  ffnDown<PlainColumns<F16>, PlainColumns<Unpacked>>(
    y,
    acts,
    ptrs,
    downOffset,
    count,
    colStart,
    colEnd,
    positions,
    yStride,
    actStride,
    scratch,
  );
}
export function f16_to_f32(dst: usize, src: usize, n: i32): void {
  toF32<FromF16>(dst, src, n);
}
export function f32_to_f16(dst: usize, src: usize, n: i32): void {
  fromF32<ToF16>(dst, src, n);
}
export function first_non_finite_f16(src: usize, n: i32): i32 {
  return firstNonFinite16(src, n, 0x7c00);
}

export function matmul_bf16(
  y: usize,
  x: usize,
  w: usize,
  bias: usize,
  rows: i32,
  cols: i32,
  positions: i32,
  xStride: usize,
  yStride: usize,
  scratch: usize,
): void {
  matmul<PlainDots<BF16>>(y, x, w, bias, rows, cols, positions, xStride, yStride, scratch);
}
export function ffn_up_bf16(
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
): void {
  ffnUp<PlainDots<BF16>>(
    acts,
    x,
    ptrs,
    bias,
    count,
    cols,
    positions,
    xStride,
    actStride,
    code,
    scratch,
  );
}
export function ffn_gated_up_bf16(
  acts: usize,
  gates: usize,
  x: usize,
  ptrs: usize,
  upOffset: usize,
  count: i32,
  cols: i32,
  positions: i32,
  xStride: usize,
  actStride: usize,
  code: i32,
  scratch: usize,
): void {
  ffnGatedUp<PlainDots<BF16>>(
    acts,
    gates,
    x,
    ptrs,
    upOffset,
    count,
    cols,
    positions,
    xStride,
    actStride,
    code,
    scratch,
  );
}
export function ffn_down_bf16(
  y: usize,
  acts: usize,
  ptrs: usize,
  downOffset: usize,
  count: i32,
  colStart: i32,
  colEnd: i32,
  positions: i32,
  yStride: usize,
  actStride: usize,
  scratch: usize,
): void {
  ffnDown<PlainColumns<BF16>, PlainColumns<Unpacked>>(
    y,
    acts,
    ptrs,
    downOffset,
    count,
    colStart,
    colEnd,
    positions,
    yStride,
    actStride,
    scratch,
  );
}
export function bf16_to_f32(dst: usize, src: usize, n: i32): void {
  toF32<FromBF16>(dst, src, n);
}
export function f32_to_bf16(dst: usize, src: usize, n: i32): void {
  fromF32<ToBF16>(dst, src, n);
}
export function first_non_finite_bf16(src: usize, n: i32): i32 {
  return firstNonFinite16(src, n, 0x7f80);
}

export function matmul_q8(
  y: usize,
  x: usize,
  w: usize,
  bias: usize,
  rows: i32,
  cols: i32,
  positions: i32,
  xStride: usize,
  yStride: usize,
  scratch: usize,
): void {
  matmul<QuantisedDots<Q8>>(y, x, w, bias, rows, cols, positions, xStride, yStride, scratch);
}
export function ffn_up_q8(
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
): void {
  ffnUp<QuantisedDots<Q8>>(
    acts,
    x,
    ptrs,
    bias,
    count,
    cols,
    positions,
    xStride,
    actStride,
    code,
    scratch,
  );
}
export function ffn_gated_up_q8(
  acts: usize,
  gates: usize,
  x: usize,
  ptrs: usize,
  upOffset: usize,
  count: i32,
  cols: i32,
  positions: i32,
  xStride: usize,
  actStride: usize,
  code: i32,
  scratch: usize,
): void {
  ffnGatedUp<QuantisedDots<Q8>>(
    acts,
    gates,
    x,
    ptrs,
    upOffset,
    count,
    cols,
    positions,
    xStride,
    actStride,
    code,
    scratch,
  );
}
export function ffn_down_q8(
  y: usize,
  acts: usize,
  ptrs: usize,
  downOffset: usize,
  count: i32,
  colStart: i32,
  colEnd: i32,
  positions: i32,
  yStride: usize,
  actStride: usize,
  scratch: usize,
): void {
  ffnDown<QuantisedColumns<Q8>, QuantisedColumns<UnpackedBlock>>(
    y,
    acts,
    ptrs,
    downOffset,
    count,
    colStart,
    colEnd,
    positions,
    yStride,
    actStride,
    scratch,
  );
}
export function q8_to_f32(dst: usize, src: usize, n: i32): void {
  blocksToF32<Q8>(dst, src, n);
}
export function f32_to_q8(dst: usize, src: usize, n: i32): void {
  f32ToBlocks<Q8, MakeQ8>(dst, src, n);
}
export function first_non_finite_q8(src: usize, n: i32): i32 {
  return firstNonFiniteBlock<Q8>(src, n);
}

export function matmul_q4(
  y: usize,
  x: usize,
  w: usize,
  bias: usize,
  rows: i32,
  cols: i32,
  positions: i32,
  xStride: usize,
  yStride: usize,
  scratch: usize,
): void {
  matmul<QuantisedDots<Q4>>(y, x, w, bias, rows, cols, positions, xStride, yStride, scratch);
}
export function ffn_up_q4(
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
): void {
  ffnUp<QuantisedDots<Q4>>(
    acts,
    x,
    ptrs,
    bias,
    count,
    cols,
    positions,
    xStride,
    actStride,
    code,
    scratch,
  );
}
export function ffn_gated_up_q4(
  acts: usize,
  gates: usize,
  x: usize,
  ptrs: usize,
  upOffset: usize,
  count: i32,
  cols: i32,
  positions: i32,
  xStride: usize,
  actStride: usize,
  code: i32,
  scratch: usize,
): void {
  ffnGatedUp<QuantisedDots<Q4>>(
    acts,
    gates,
    x,
    ptrs,
    upOffset,
    count,
    cols,
    positions,
    xStride,
    actStride,
    code,
    scratch,
  );
}
export function ffn_down_q4(
  y: usize,
  acts: usize,
  ptrs: usize,
  downOffset: usize,
  count: i32,
  colStart: i32,
  colEnd: i32,
  positions: i32,
  yStride: usize,
  actStride: usize,
  scratch: usize,
): void {
  ffnDown<QuantisedColumns<Q4>, QuantisedColumns<UnpackedBlock>>(
    y,
    acts,
    ptrs,
    downOffset,
    count,
    colStart,
    colEnd,
    positions,
    yStride,
    actStride,
    scratch,
  );
}
export function q4_to_f32(dst: usize, src: usize, n: i32): void {
  blocksToF32<Q4>(dst, src, n);
}
export function f32_to_q4(dst: usize, src: usize, n: i32): void {
  f32ToBlocks<Q4, MakeQ4>(dst, src, n);
}
export function first_non_finite_q4(src: usize, n: i32): i32 {
  return firstNonFiniteBlock<Q4>(src, n);
}
