/** Attention over caches of each format. */

import { attention } from '../attention';
import { F16, Unpacked } from '../dtype';

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
