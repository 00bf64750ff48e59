/** The lines of scripts/bench-kernels.ts: a kernel's speed on one thread and on several, compared with reading. */

export interface SpeedRow {
  readonly kernel: string;
  readonly bytes: number;
  readonly flops: number;
  /** On one thread, and on all; Infinity where there is only one. */
  readonly seconds: readonly [number, number];
}

/** Two lines: the numbers of threads, and the columns. */
export function heading(threads: number): string {
  const columns = ['GB/s'.padStart(8), 'GFLOP/s'.padStart(9), 'of read'.padStart(8)].join('  ');
  const several = threads === 1 ? '' : `${threads} threads`.padStart(29);
  const more = threads === 1 ? '' : `${columns}  ${'gain'.padStart(7)}`;
  return (
    `${''.padEnd(40)}  ${'1 thread'.padStart(29)}  ${several}\n` +
    `${'kernel'.padEnd(40)}  ${columns}  ${more}\n`
  );
}

/** A kernel's line; `reading` is the simplest kernel, which the others are compared with. */
export function speedLine(row: SpeedRow, reading: SpeedRow): string {
  const [one, all] = row.seconds;
  const gain = Number.isFinite(all) ? (one / all).toFixed(2).padStart(7) : '';
  const name = row.kernel.padEnd(40);
  return `${[name, speeds(row, reading, 0), speeds(row, reading, 1), gain].join('  ')}\n`;
}

/** GB/s, GFLOP/s, and the share of what reading alone reaches. */
function speeds({ bytes, flops, seconds }: SpeedRow, reading: SpeedRow, index: 0 | 1): string {
  const time = seconds[index];
  if (!Number.isFinite(time)) return '';
  const speed = bytes / time / 1e9;
  return [
    speed.toFixed(2).padStart(8),
    flops === 0 ? ''.padStart(9) : (flops / time / 1e9).toFixed(2).padStart(9),
    `${((100 * speed) / (reading.bytes / reading.seconds[index] / 1e9)).toFixed(0)} %`.padStart(8),
  ].join('  ');
}
