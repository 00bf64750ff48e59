/**
 * What several compute threads gain: how long it takes to hand out a job and get it back, and how fast
 * kernels pass over weights, compared with the speed at which as many threads read memory. Numbers of
 * threads alternate over several rounds, so that other work on the machine affects all alike.
 *
 *     node --import tsx scripts/bench-threads.ts [threads, default 1,2] [MiB of weights, default 1024]
 */

import { availableParallelism, cpus, loadavg } from 'node:os';
import { setTimeout } from 'node:timers/promises';
import { byteLength, neuronDTypes } from '../src/dtype.ts';
import type { Kernels } from '../src/kernels/kernels.ts';
import { compileCore, instantiateKernels } from '../src/kernels/module.ts';
import { ComputeThreads, threadScratchBytes } from '../src/kernels/threads/pool.ts';
import { createMemory } from '../src/pages.ts';

const MiB = 2 ** 20;
const counts = (process.argv[2] ?? '1,2').split(',').map(Number);
const weightBytes = Number(process.argv[3] ?? 1024) * MiB;
const cols = 4096;
const rounds = 7;
const out = (line: string) => process.stdout.write(`${line}\n`);
const load = () => `load ${loadavg()[0]?.toFixed(2)}`;

out(`${cpus()[0]?.model}, ${availableParallelism()} cores, Node ${process.version}, ${load()}`);

const memory = createMemory(weightBytes + 16 * MiB);
const module = await compileCore();
const plain = await instantiateKernels(memory, module);
const bytesPerThread = threadScratchBytes({ cols, context: 4096 });
const [own, scratch] = [4 * MiB, { address: 8 * MiB, bytesPerThread }];
const [x, y] = [65536, 1 * MiB];
const weights = 16 * MiB;
new Float32Array(memory.buffer, x, cols).fill(0.5);

const variants: { threads: number; pool: ComputeThreads; kernels: Kernels; eager: Kernels }[] = [];
for (const threads of counts) {
  const before = process.memoryUsage.rss();
  const pool = await ComputeThreads.start(threads);
  const kernels = await pool.kernels(memory, { module, scratch });
  const eager = await pool.kernels(memory, { module, scratch, shareWork: 1 });
  const grown = (process.memoryUsage.rss() - before) / MiB;
  out(`${threads} threads started: ${grown.toFixed(1)} MiB of resident memory`);
  variants.push({ threads, pool, kernels, eager });
}

function quantile(sorted: readonly number[], share: number): string {
  const value = sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0;
  return value.toFixed(1).padStart(8);
}

async function latency(name: string, calls: number, call: () => void, pauseMs = 0): Promise<void> {
  const times: number[] = [];
  for (let i = 0; i < calls; i++) {
    if (pauseMs > 0) await setTimeout(pauseMs);
    const start = performance.now();
    call();
    times.push((performance.now() - start) * 1000);
  }
  times.sort((a, b) => a - b);
  const cells = [0.1, 0.5, 0.9, 0.99].map((share) => quantile(times, share));
  out(`${name.padEnd(52)}  ${cells.join('')}`);
}

out(
  `\n${'a call, us'.padEnd(52)}  ${['p10', 'p50', 'p90', 'p99'].map((c) => c.padStart(8)).join('')}`,
);
const small = 2048;
const mediumRows = 32;
for (const { threads, kernels, eager } of variants) {
  const name = `${threads} threads: `;
  await latency(`${name}scale 2048, not split`, 20000, () => kernels.scale(y, small, 1));
  if (threads === 1) {
    await latency(`${name}matvec ${mediumRows} x ${cols} f32`, 20000, () =>
      kernels.byDType.f32.matmul(y, x, weights, 0, mediumRows, cols, 1, cols, mediumRows),
    );
    continue;
  }
  await latency(`${name}scale 2048, split, threads awake`, 20000, () => eager.scale(y, small, 1));
  await latency(
    `${name}the same after a pause, threads asleep`,
    500,
    () => eager.scale(y, small, 1),
    1,
  );
  await latency(`${name}matvec ${mediumRows} x ${cols} f32, split`, 20000, () =>
    eager.byDType.f32.matmul(y, x, weights, 0, mediumRows, cols, 1, cols, mediumRows),
  );
  await latency(
    `${name}the same after a pause`,
    500,
    () => eager.byDType.f32.matmul(y, x, weights, 0, mediumRows, cols, 1, cols, mediumRows),
    1,
  );
}

const jobs: { name: string; run: (kernels: Kernels) => void }[] = [
  { name: 'read', run: (kernels) => void kernels.readSum(weights, weightBytes) },
  ...neuronDTypes.map((dtype) => ({
    name: `${dtype} matvec`,
    run: (kernels: Kernels) => {
      // As large as a layer's matrices: a token makes many calls, not one.
      const rows = 4096;
      const bytes = rows * byteLength(dtype, cols);
      for (let at = 0; at + bytes <= weightBytes; at += bytes) {
        kernels.byDType[dtype].matmul(y, x, weights + at, 0, rows, cols, 1, cols, rows, own);
      }
    },
  })),
];
out(`\nGB/s over ${weightBytes / MiB} MiB, best and median of ${rounds} rounds`);
out(
  `${'kernel'.padEnd(16)}${counts.map((n) => `${n} threads`.padStart(18)).join('')}   ratio of best`,
);
for (const { name, run } of jobs) {
  // Weights that are normal numbers in every format.
  if (name !== 'read') {
    const [dtype] = name.split(' ') as ['f32'];
    const pattern = 1024 * cols;
    const source = new Float32Array(memory.buffer, weights, pattern);
    const values = new Float32Array(pattern).map(() => 0.02 * (Math.random() + 0.01));
    source.set(values);
    const target = weights + 64 * MiB;
    plain.byDType[dtype].fromF32(target, weights, pattern);
    const all = new Uint8Array(memory.buffer);
    const bytes = byteLength(dtype, pattern);
    const copy = all.slice(target, target + bytes);
    for (let at = 0; at + bytes <= weightBytes; at += bytes) all.set(copy, weights + at);
  } else {
    new Uint8Array(memory.buffer, weights, weightBytes).fill(1);
  }
  const speeds = variants.map((): number[] => []);
  for (let round = 0; round < rounds; round++) {
    for (const [index, { kernels }] of variants.entries()) {
      const start = performance.now();
      run(kernels);
      speeds[index]?.push(weightBytes / 1e6 / (performance.now() - start));
    }
  }
  const best = speeds.map((all) => Math.max(...all));
  const cells = speeds.map((all, index) => {
    const median = all.sort((a, b) => a - b)[all.length >> 1] ?? 0;
    return `${best[index]?.toFixed(2)} / ${median.toFixed(2)}`.padStart(18);
  });
  const ratio = (best.at(-1) ?? 0) / (best[0] ?? 1);
  out(`${name.padEnd(16)}${cells.join('')}   ${ratio.toFixed(2)}   ${load()}`);
}
for (const { pool } of variants) await pool.close();
