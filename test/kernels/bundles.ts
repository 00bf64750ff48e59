/** Neurons for the tests of the feed-forward kernels. */

import { byteLength, type DType } from '../../src/dtype.ts';
import { alignmentOf, type Bench, type Random } from './support.ts';

/** Neurons as a model directory has them, and what their weights are, exactly. */
export interface Bundles {
  /** u32: where each begins. */
  readonly ptrs: number;
  readonly downOffset: number;
  readonly up: number[][];
  readonly down: number[][];
}

/** Bundles at shuffled places, with gaps or without. */
export function putBundles(
  bench: Bench,
  dtype: DType,
  count: number,
  cols: number,
  random: Random,
): Bundles {
  const downOffset = byteLength(dtype, cols);
  const bundleBytes = 2 * downOffset + alignmentOf(dtype) * random.below(9);
  const base = bench.allocate(count * bundleBytes, alignmentOf(dtype));
  const slots = Array.from({ length: count }, (_, i) => i);
  for (let i = count - 1; i > 0; i--) {
    const j = random.below(i + 1);
    [slots[i], slots[j]] = [slots[j]!, slots[i]!];
  }
  const addresses = slots.map((slot) => base + slot * bundleBytes);
  return {
    ptrs: bench.putWords(addresses),
    downOffset,
    up: addresses.map((address) => bench.fillWeights(dtype, address, cols, random)),
    down: addresses.map((at) => bench.fillWeights(dtype, at + downOffset, cols, random)),
  };
}
