/**
 * The exports of the compute core: pure functions over addresses in one shared memory, without
 * allocation or state of their own. What each computes is said where it is defined; in
 * exports/ every format gets its own copy of every kernel. src/kernels/kernels.ts is the other side.
 */
export { copy_rows, read_sum, transpose_16, transpose_32 } from './convert';
export * from './exports/attention';
export * from './exports/bf16';
export * from './exports/f16';
export * from './exports/f32';
export * from './exports/packed-f16';
export * from './exports/q4';
export * from './exports/q8';
export { activation, add, clamp, count_active, fold, multiply, scale } from './math';
export { layer_norm, rms_norm } from './norm';
export { pack_f16, packable_f16 } from './packed';
export { rotary_halves, rotary_neighbours } from './rotary';
export { positive_bits, union_ids, wanted_acts } from './select';
export { adamw, gemm, logistic_gradient } from './train';
