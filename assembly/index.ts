/**
 * The exports of the compute core: pure functions over addresses in one shared memory, without
 * allocation or state of their own. Each is described in src/kernels/kernel-table.ts or
 * format-kernel-table.ts. Written by "npm run generate".
 */
export * from './exports/bf16';
export * from './exports/f16';
export * from './exports/f32';
export * from './exports/iq4-nl';
export * from './exports/iq4-xs';
export * from './exports/kernels';
export * from './exports/mxfp4';
export * from './exports/packed-f16';
export * from './exports/packed-mxfp4';
export * from './exports/packed-q2-k';
export * from './exports/packed-q3-k';
export * from './exports/packed-q4-0';
export * from './exports/packed-q4-1';
export * from './exports/packed-q4-k';
export * from './exports/packed-q5-0';
export * from './exports/packed-q5-1';
export * from './exports/packed-q5-k';
export * from './exports/packed-q6-k';
export * from './exports/q2-k';
export * from './exports/q3-k';
export * from './exports/q4';
export * from './exports/q4-0';
export * from './exports/q4-1';
export * from './exports/q4-k';
export * from './exports/q5-0';
export * from './exports/q5-1';
export * from './exports/q5-k';
export * from './exports/q6-k';
export * from './exports/q8';
export * from './exports/q8-0';
export * from './exports/shared-constants';
export * from './exports/ternary';
