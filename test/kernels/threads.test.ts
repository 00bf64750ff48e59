import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { callAttention } from '../../src/kernels/attention.ts';
import type { Kernels } from '../../src/kernels/kernels.ts';
import { compileCore, instantiateKernels } from '../../src/kernels/module.ts';
import { ComputeThreads } from '../../src/kernels/threads/pool.ts';
import { createMemory } from '../../src/pages.ts';
import { calls } from './random-calls.ts';
import {
  a,
  b,
  bytesPerThread,
  c,
  e,
  fill,
  memoryBytes,
  mostThreads,
  out,
  scratchAddress,
} from './random-memory.ts';
import { Random } from './support.ts';
import { createThreadedKernels } from './threaded-kernels.ts';

const module = await compileCore();
/** So that everything that can be split is. */
const shareWork = 1;
const scratch = { address: scratchAddress + bytesPerThread, bytesPerThread };

for (const threads of [1, 2, 3, mostThreads]) {
  test(`every kernel gives the same bits on ${threads} threads`, async () => {
    const random = new Random(threads);
    const plainMemory = createMemory(memoryBytes);
    const plain = await instantiateKernels(plainMemory, module);
    const memory = createMemory(memoryBytes);
    const pool = await ComputeThreads.start(threads);
    try {
      const threaded = await pool.kernels(memory, { module, scratch, shareWork });
      const without = await pool.kernels(memory, { module, shareWork });
      for (const [name, make] of calls) {
        for (let i = 0; i < 25; i++) {
          const call = make(random);
          const seed = 1 + random.below(1000);
          fill(plainMemory, new Random(seed));
          const wanted = call(plain, plainMemory);
          for (const kernels of [threaded, without]) {
            fill(memory, new Random(seed));
            assert.equal(call(kernels, memory), wanted, name);
            const used = scratchAddress;
            const got = Buffer.from(memory.buffer, 0, used);
            assert.ok(got.equals(Buffer.from(plainMemory.buffer, 0, used)), `${name}, call ${i}`);
          }
        }
      }
    } finally {
      await pool.close();
    }
  });
}

test('workers take part in a large job, each with scratch of its own', async () => {
  const memory = createMemory(memoryBytes);
  const kernels = await createThreadedKernels(memory, 3, { module, scratch, shareWork });
  const areas = [1, 2].map((thread) => scratchAddress + thread * bytesPerThread);
  const used = () => areas.filter((at) => new Float32Array(memory.buffer, at, 1)[0] !== 0).length;
  // On a busy machine a worker may get no core for a while.
  for (let i = 0; i < 2000 && used() < areas.length; i++) {
    callAttention(kernels.attention, {
      ...{ out, q: a, rows: e, keys: b, values: c, scores: scratchAddress },
      ...{ headStart: 0, headEnd: 64, group: 1, headDim: 16 },
      ...{ kvStride: 1024, qStride: 1024, outStride: 1024, length: 8, positions: 8 },
      ...{ scale: 1, window: 8, bias: 0, biasStride: 0, biasScale: 1 },
      ...{ softCap: 0, sinks: 0 },
    });
  }
  assert.equal(used(), areas.length);
  await kernels.close();
});

test('ten thousand small calls, with and without pauses, end', async () => {
  const memory = createMemory(memoryBytes);
  for (const threads of [2, mostThreads]) {
    const pool = await ComputeThreads.start(threads);
    const { add } = await pool.kernels(memory, { module, shareWork });
    const y = new Float32Array(memory.buffer, a, 640).fill(0);
    new Float32Array(memory.buffer, b, 640).fill(1);
    for (let i = 0; i < 10000; i++) {
      if (i % 500 === 0) await new Promise((resolve) => setTimeout(resolve, 1));
      add(a, b, 640);
    }
    assert.deepEqual([...new Set(y)], [10000]);
    await pool.close();
  }
});

test('two pools, and two memories in one pool, do not mix', async () => {
  const memories = [
    createMemory(memoryBytes),
    createMemory(memoryBytes),
    createMemory(memoryBytes),
  ];
  const [own, shared] = [
    await createThreadedKernels(memories[0]!, 2, { module, shareWork }),
    await ComputeThreads.start(3),
  ];
  const all: Kernels[] = [own];
  for (const memory of memories.slice(1))
    all.push(await shared.kernels(memory, { module, shareWork }));
  for (const [index, memory] of memories.entries()) {
    new Float32Array(memory.buffer, a, 1024).fill(0);
    new Float32Array(memory.buffer, b, 1024).fill(index + 1);
  }
  for (let i = 0; i < 1000; i++) for (const { add } of all) add(a, b, 1024);
  for (const [index, memory] of memories.entries()) {
    const sums = new Set(new Float32Array(memory.buffer, a, 1024));
    assert.deepEqual([...sums], [1000 * (index + 1)]);
  }
  assert.equal(own.threads, 2);
  await Promise.all([own.close(), shared.close()]);
});

test('closing ends the workers, twice is once, and calls that would need them fail', async () => {
  const pool = await ComputeThreads.start(3);
  const { add } = await pool.kernels(createMemory(memoryBytes), { module, shareWork });
  add(a, b, 1000);
  await Promise.all([pool.close(), pool.close()]);
  assert.deepEqual(
    pool.workers.map(({ threadId }) => threadId),
    [-1, -1],
  );
  assert.throws(() => add(a, b, 1000), /closed/);
  await assert.rejects(pool.kernels(createMemory(1), { module }), /closed/);
});

test('a worker that was killed is an error, not a hang', async () => {
  const pool = await ComputeThreads.start(3);
  const memory = createMemory(memoryBytes);
  const { add } = await pool.kernels(memory, { module, shareWork });
  const y = new Float32Array(memory.buffer, a, 1000).fill(1);
  new Float32Array(memory.buffer, b, 1000).fill(1);
  await new Promise((resolve) => setTimeout(resolve, 20));
  const killed = pool.workers[1]?.terminate();
  // It may be dead already, but this thread has not heard of it: the others do its part.
  add(a, b, 1000);
  assert.deepEqual([...new Set(y)], [2]);
  await killed;
  assert.throws(() => add(a, b, 1000), /a compute thread ended/);
  await pool.close();
});

test('a kernel that traps is an error, on whatever thread, and the next call works', async () => {
  const pool = await ComputeThreads.start(3);
  const memory = createMemory(65536);
  const { add } = await pool.kernels(memory, { module, shareWork });
  for (let i = 0; i < 20; i++) {
    assert.throws(() => add(65536 - 4096, 0, 6400), /a kernel failed: .*out of bounds/);
    add(1024, 32768, 6400);
  }
  await pool.close();
});

test('a number of threads that is none is refused', async () => {
  for (const threads of [0, -1, 1.5, Number.NaN, 1000]) {
    await assert.rejects(ComputeThreads.start(threads), RangeError);
  }
});

test('idle threads neither use a processor nor keep the process alive', async () => {
  const script = `
    const { createMemory } = await import(process.argv[1]);
    const { createThreadedKernels } = await import(process.argv[2]);
    const { add } = await createThreadedKernels(createMemory(1 << 20), 4, { shareWork: 1 });
    add(65536, 131072, 1000);
    const before = process.cpuUsage();
    await new Promise((resolve) => setTimeout(resolve, 300));
    const { user, system } = process.cpuUsage(before);
    process.stdout.write(String((user + system) / 1000));
  `;
  const urls = ['../../src/pages.ts', './threaded-kernels.ts'].map(
    (path) => new URL(path, import.meta.url).href,
  );
  const args = ['--import', 'tsx', '--input-type=module', '-e', script, ...urls];
  const { stdout } = await promisify(execFile)(process.execPath, args, { timeout: 30000 });
  assert.ok(Number(stdout) < 100, `${stdout} ms of processor time in 300 ms of doing nothing`);
});
