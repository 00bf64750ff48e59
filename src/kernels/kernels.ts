/**
 * The typed interface of the compute core, derived from its tables (kernel-table.ts and
 * format-kernel-table.ts, where each kernel is described). Kernels work on addresses: byte offsets in the
 * memory they were instantiated over.
 */

import { kernelSizes } from './constants.ts';
import type { kernelTable } from './kernel-table.ts';
import type { KernelOf } from './signature.ts';
import type { KernelsByFormat } from './weight-kernels.ts';

type PlainKernels = {
  readonly [Name in keyof typeof kernelTable]: KernelOf<(typeof kernelTable)[Name]>;
};

export interface Kernels extends PlainKernels, KernelsByFormat {}

/** Elements of scratch that `attention` needs. */
export function attentionScratch(length: number): number {
  return kernelSizes.headsTogether * length;
}
