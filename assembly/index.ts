/**
 * The exports of the compute core: pure functions over addresses in one shared memory, without
 * allocation or state of their own. Each is described in src/kernels/kernel-table.ts or
 * format-kernel-table.ts. Written by "npm run generate".
 */
export * from './exports/bf16';
export * from './exports/f16';
export * from './exports/f32';
export * from './exports/kernels';
export * from './exports/packed-f16';
export * from './exports/q4';
export * from './exports/q8';
export * from './exports/shared-constants';
