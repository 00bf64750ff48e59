/** Address space: how much of it a limit (`ulimit -v`, `ulimit -d`) leaves to this process. */

import { readText } from './control-groups.ts';
import { BudgetError } from './errors.ts';
import { formatBytes, MIB } from './units.ts';

/** A limit that the system sets on the address space that this process may map. */
export interface AddressLimit {
  /** What the limit applies to, as messages name it. */
  readonly name: string;
  readonly limit: number;
  /** Bytes that this process has not taken yet. */
  readonly left: number;
}

const limits = [
  { row: 'Max address space', used: 'VmSize', name: 'the address space of this process', by: 'v' },
  { row: 'Max data size', used: 'VmData', name: 'the data segment of this process', by: 'd' },
] as const;

/**
 * The limit that leaves the fewest bytes, or null where there is no limit.
 * @param root where /proc is; elsewhere in tests
 */
export function addressLimit(root = ''): AddressLimit | null {
  const table = readText(`${root}/proc/self/limits`) ?? '';
  const status = readText(`${root}/proc/self/status`) ?? '';
  const found = limits.flatMap(({ row, used, name, by }): AddressLimit[] => {
    const limit = new RegExp(`^${row} +(\\d+) `, 'm').exec(table)?.[1];
    const taken = new RegExp(`^${used}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1];
    if (limit === undefined || taken === undefined) return [];
    const left = Math.max(0, Number(limit) - 1024 * Number(taken));
    return [{ name: `${name} (ulimit -${by})`, limit: Number(limit), left }];
  });
  return found.sort((a, b) => a.left - b.left)[0] ?? null;
}

/** Reserve for the growth of the heap and for the stacks of the reader threads. */
function spareBytes(): number {
  return 128 * MIB + 8 * MIB * Number(process.env.UV_THREADPOOL_SIZE ?? 4);
}

/**
 * Address space that a compute thread takes, most of which it never uses. Measured: 14 to 22 MiB on Node 20
 * to 24, 331 MiB on Node 26, plus what the C library reserves.
 */
const threadBytes = Number(process.versions.node.split('.')[0]) >= 25 ? 400 * MIB : 96 * MIB;

/** What a limit leaves for WebAssembly memories and compute threads; null where there is no limit. */
export function mappableBytes(root = ''): number | null {
  const found = addressLimit(root);
  return found && Math.max(0, found.left - spareBytes());
}

/**
 * @param memoryBytes of all WebAssembly memories that are yet to be created
 * @param threads that will compute, this one included
 * @throws BudgetError when a limit leaves too little for them
 */
export function checkAddresses(memoryBytes: number, threads: number): void {
  const found = addressLimit();
  if (found === null) return;
  const needed = memoryBytes + (threads - 1) * threadBytes + spareBytes();
  if (needed <= found.left) return;
  throw new BudgetError(
    `this run takes ${formatBytes(needed)}, but ${found.name} is limited to ${formatBytes(found.limit)}, of which ${formatBytes(found.left)} are left`,
    {},
    `Raise the limit, or give a smaller --dram-budget${threads > 1 ? ' or fewer --threads' : ''}`,
  );
}
