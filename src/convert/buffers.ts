/** The memory in which weights are converted, divided within the budget. */

import { byteLength } from '../dtype.ts';
import { BudgetError } from '../errors.ts';
import type { ModelLayout } from '../flash/layout.ts';
import { instantiateKernels } from '../kernels/module.ts';
import type { ModelRecipe } from '../models/spec.ts';
import { createMemory, maxMemoryBytes } from '../pages.ts';
import { residentBytes } from '../plan/process.ts';
import { alignUp, formatBytes, MIB } from '../units.ts';
import { type BlockBuffers, blockBufferBytes, createBlockBuffers } from './blocks.ts';
import type { Helper } from './helper.ts';

/** Memory that garbage collection and the C library may take beyond what is resident at the start. */
const headroomBytes = 40 * MIB;
/** The floor may differ by this much from one run to the next. */
const floorMarginBytes = 8 * MIB;
/** Blocks of 2 Mi values are 4-8 MiB reads, past the point where larger ones are faster. */
const largestBlock = 2 * 1024 * 1024;

/** Both buffers start at a page; the WebAssembly module keeps no data of its own below them. */
const blocksAddress = 64 * 1024;

/** How the memory that the budget leaves is divided. */
export interface Buffers {
  readonly blockElements: number;
  /** Values of the longest row. */
  readonly longestRow: number;
  readonly stripBytes: number;
  /** Strips, and the bytes of each. */
  readonly strips: 1 | 2;
}

/** Memory that others will take, in bytes. */
interface WorkBytes {
  /** Merging adapters. */
  readonly adapters: number;
  /** The thread that helps. */
  readonly thread: number;
}

/**
 * Plans the buffers for a conversion within `dramBudget` bytes.
 * @throws BudgetError below the floor
 */
export function planBuffers(
  recipe: ModelRecipe,
  layout: ModelLayout,
  dramBudget: number,
  { adapters: adapterBytes, thread: threadBytes }: WorkBytes,
): Buffers {
  const longestRow = Math.max(
    ...recipe.bundles.map(({ neurons }) => neurons),
    ...recipe.experts.map(({ neurons }) => neurons),
    ...recipe.tensors.map(({ shape }) => shape.at(-1) ?? 1),
  );
  // Experts are copied through and need no assembly.
  const ffns = layout.ffns.flat().filter(({ kind }) => kind !== 'expert');
  const largestLayer = Math.max(0, ...ffns.map(({ count, unitBytes }) => count * unitBytes));
  // Strips of fewer neurons than this would read the down projection in very short runs.
  const smallestStrip = Math.max(
    0,
    ...ffns.map(({ k, unitBytes }) => Math.ceil(64 / k) * unitBytes),
  );
  const processBytes = residentBytes() + threadBytes + headroomBytes;
  const floor = processBytes + adapterBytes + blockBufferBytes(longestRow) + smallestStrip;
  if (dramBudget < floor) {
    throw new BudgetError(
      `--dram-budget ${formatBytes(dramBudget)} is below the floor of ${formatBytes(floor)}: ` +
        `process ${formatBytes(processBytes)}, ` +
        (adapterBytes === 0 ? '' : `adapters ${formatBytes(adapterBytes)}, `) +
        `buffers ${formatBytes(floor - processBytes - adapterBytes)}`,
      {},
      `Give ${alignUp(floor + floorMarginBytes, 4 * MIB) / MIB}MiB or more`,
    );
  }
  const free = Math.min(
    dramBudget - processBytes - adapterBytes,
    maxMemoryBytes - 2 * blocksAddress,
  );
  const blockElements = Math.max(
    longestRow,
    Math.min(largestBlock, Math.floor(free / 2 / byteLength('f32', 4))),
  );
  const room = free - blockBufferBytes(blockElements);
  // Two strips only if each holds a whole layer: half a layer would read its down projection in shorter
  // runs.
  if (room >= 2 * alignUp(largestLayer, stripAlignment)) {
    return {
      blockElements,
      longestRow,
      stripBytes: alignUp(largestLayer, stripAlignment),
      strips: 2,
    };
  }
  const stripBytes = Math.max(smallestStrip, Math.min(largestLayer, room));
  return { blockElements, longestRow, stripBytes, strips: 1 };
}

/**
 * Allocates the buffers, with the kernels that work on them.
 * @param core compiled, or being compiled
 * @param helper computes checksums while it is free
 */
export async function allocateBuffers(
  buffers: Buffers,
  core: Promise<WebAssembly.Module>,
  signal: AbortSignal,
  helper: Helper,
): Promise<BlockBuffers> {
  const stripAddress = stripAddressOf(buffers);
  const memory = createMemory(stripAddress + buffers.strips * buffers.stripBytes);
  const kernels = await instantiateKernels(memory, await core);
  const { blockElements: elements, longestRow } = buffers;
  const geometry = { address: blocksAddress, elements, longestRow };
  return createBlockBuffers(memory, kernels, geometry, signal, helper);
}

/** Where the first strip begins; the second follows it. */
export function stripAddressOf({ blockElements }: Buffers): number {
  return alignUp(blocksAddress + blockBufferBytes(blockElements), stripAlignment);
}

const stripAlignment = 4096;
