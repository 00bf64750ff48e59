import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { dtypeNames, isQuantised } from '../../src/dtype.ts';
import { activationCodes, attentionScratch, type Kernels } from '../../src/kernels/kernels.ts';
import { compileCore, createMemory, instantiateKernels } from '../../src/kernels/module.ts';
import { ComputeThreads, threadScratchBytes } from '../../src/kernels/threads/pool.ts';
import { Random } from './support.ts';
import { createThreadedKernels } from './threaded-kernels.ts';

/** What all tests compute with: whatever the kernels read lies below, what they write above. */
const inputBytes = 1 << 20;
const outputBytes = 1 << 20;
const scratchAddress = inputBytes + outputBytes;
const bytesPerThread = threadScratchBytes({ cols: 300, context: 300 });
/** More than the two cores of a small machine can run at once. */
const mostThreads = 5;
const memoryBytes = scratchAddress + mostThreads * bytesPerThread;
const module = await compileCore();
/** So that everything that can be split is. */
const shareWork = 1;
const scratch = { address: scratchAddress + bytesPerThread, bytesPerThread };

/** Fills the input with finite numbers in every format, the rest with NaN. */
function fill(memory: WebAssembly.Memory, random: Random): void {
  const pattern = Uint32Array.from({ length: 5003 }, () => {
    // Exponents 0x3c to 0x40 of both halves: small numbers as f16, bf16 and f32.
    const low = 0x3c00 + random.below(0x400) + random.below(2) * 0x8000;
    return (low | ((0x3c00 + random.below(0x400)) << 16) | (random.below(2) << 31)) >>> 0;
  });
  const words = new Uint32Array(memory.buffer);
  for (let at = 0; at < inputBytes / 4; at += pattern.length) words.set(pattern, at);
  words.fill(0xffffffff, inputBytes / 4);
}

/** One random call of a kernel, to be made with different kernels on equal memories. */
type Call = (kernels: Kernels, memory: WebAssembly.Memory) => unknown;
type MakeCall = (random: Random) => Call;

const inputs = 65536;
const [a, b, c, e] = [1, 2, 3, 5].map((i) => i * inputs) as [number, number, number, number];
const out = inputBytes;
const out2 = inputBytes + outputBytes / 2;
/** Small counts, and larger ones, at random. */
const size = (random: Random, most: number) => random.below(random.below(3) === 0 ? 4 : most + 1);
const oneOf = (random: Random, ...values: number[]) => values[random.below(values.length)] ?? 0;

function addresses(memory: WebAssembly.Memory, at: number, count: number, bytes: number): void {
  const list = new Uint32Array(memory.buffer, at, count);
  for (let i = 0; i < count; i++) list[i] = c + bytes * ((i * 7) % Math.max(1, count));
}

const calls: [string, MakeCall][] = [
  ...dtypeNames.flatMap((dtype): [string, MakeCall][] => [
    [
      `matmul ${dtype}`,
      (random) => {
        const [rows, cols, positions] = [
          size(random, 70),
          1 + size(random, 200),
          1 + size(random, 20),
        ];
        const bias = oneOf(random, 0, b);
        const own = isQuantised(dtype) ? scratchAddress : oneOf(random, 0, scratchAddress);
        return ({ byDType }) =>
          byDType[dtype].matmul(out, a, c, bias, rows, cols, positions, cols + 1, rows + 3, own);
      },
    ],
    [
      `ffn up ${dtype}`,
      (random) => {
        const [count, cols, positions] = [
          size(random, 70),
          1 + size(random, 200),
          1 + size(random, 20),
        ];
        const bias = oneOf(random, 0, b);
        const own = isQuantised(dtype) ? scratchAddress : oneOf(random, 0, scratchAddress);
        const { silu } = activationCodes;
        return ({ byDType }, memory) => {
          addresses(memory, e, count, 4 * cols);
          byDType[dtype].ffnUp(out, a, e, bias, count, cols, positions, cols, count + 1, silu, own);
        };
      },
    ],
    [
      `ffn down ${dtype}`,
      (random) => {
        const [count, cols, positions] = [
          size(random, 70),
          1 + size(random, 300),
          1 + size(random, 20),
        ];
        const from = random.below(cols);
        const own = oneOf(random, 0, scratchAddress);
        return ({ byDType }, memory) => {
          addresses(memory, e, count, 4 * cols);
          new Float32Array(memory.buffer, out, positions * cols).fill(0.5);
          // Half of the neurons are not active.
          const acts = new Float32Array(memory.buffer, a, positions * count);
          for (let i = 0; i < acts.length; i += 2) acts[i] = 0;
          byDType[dtype].ffnDown(out, a, e, 16, count, from, cols, positions, cols, count, own);
        };
      },
    ],
    [
      `to and from f32 ${dtype}`,
      (random) => {
        const n = size(random, 2000);
        return ({ byDType }) => {
          byDType[dtype].toF32(out, a, n);
          byDType[dtype].fromF32(out2, a, n);
        };
      },
    ],
    [
      `first non-finite ${dtype}`,
      (random) => {
        const n = 1 + size(random, 2000);
        const bad = [random.below(2 * n), random.below(2 * n)];
        return ({ byDType }, memory) => {
          for (const index of bad) {
            // All ones, from a multiple of four bytes on.
            new Uint32Array(memory.buffer, b, 2 * n)[index] = 0xffffffff;
          }
          return byDType[dtype].firstNonFinite(b, n);
        };
      },
    ],
  ]),
  [
    'attention',
    (random) => {
      const [kvHeads, group, headDim] = [
        1 + random.below(7),
        1 + random.below(3),
        1 + random.below(20),
      ];
      const [start, positions] = [random.below(60), 1 + random.below(20)];
      const [kvWidth, width] = [kvHeads * headDim, kvHeads * group * headDim];
      const first = random.below(kvHeads * group);
      return ({ attention }, memory) => {
        attention(
          out,
          a,
          b,
          c,
          scratchAddress,
          first,
          kvHeads * group,
          group,
          headDim,
          kvWidth,
          width,
          width,
          start,
          positions,
          0.1,
        );
        new Uint8Array(memory.buffer, scratchAddress, 4 * attentionScratch(start, positions)).fill(
          0xff,
        );
      };
    },
  ],
  [
    'norms',
    (random) => {
      const [n, positions] = [1 + size(random, 200), size(random, 20)];
      return ({ layerNorm, rmsNorm }) => {
        layerNorm(out, a, b, c, n, positions, n + 1, n + 2, 1e-5);
        rmsNorm(out2, a, 0, n, positions, n + 2, n, 1e-5);
        rmsNorm(a, a, b, n, positions, n, n, 1e-6);
      };
    },
  ],
  [
    'elementwise kernels',
    (random) => {
      const n = size(random, 3000);
      return ({ add, multiply, scale, activation, copyRows }) => {
        copyRows(out, a, 1, 4 * n, 0, 0);
        add(out, b, n);
        multiply(out, c, n);
        scale(out, n, 1.5);
        activation(out, n, activationCodes.gelu);
      };
    },
  ],
  [
    'copies and transpositions',
    (random) => {
      const [rows, cols] = [size(random, 90), size(random, 90)];
      return ({ copyRows, transpose16, transpose32 }) => {
        copyRows(out, a, rows, 4 * cols + 2, 4 * cols, 4 * cols + 6);
        transpose16(out2, b, rows, cols, 2 * cols + 2, 2 * rows + 4);
        transpose32(out2 + outputBytes / 4, c, rows, cols, 4 * cols, 4 * rows + 8);
      };
    },
  ],
  [
    'sum of what is read',
    (random) => {
      const bytes = 256 * size(random, 100);
      return ({ readSum }) => readSum(a, bytes);
    },
  ],
];

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
    kernels.attention(out, a, b, c, scratchAddress, 0, 64, 1, 16, 1024, 1024, 1024, 0, 8, 1);
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
  const urls = ['../../src/kernels/module.ts', './threaded-kernels.ts'].map(
    (path) => new URL(path, import.meta.url).href,
  );
  const args = ['--import', 'tsx', '--input-type=module', '-e', script, ...urls];
  const { stdout } = await promisify(execFile)(process.execPath, args, { timeout: 30000 });
  assert.ok(Number(stdout) < 100, `${stdout} ms of processor time in 300 ms of doing nothing`);
});
