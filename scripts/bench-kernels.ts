/**
 * How fast each kernel is on one thread of this machine and on several, compared with the speed at which
 * as many threads read memory, measured in the same run with the simplest kernel.
 *
 *     node --import tsx scripts/bench-kernels.ts [MiB of weights, default 1024] [name filter] [threads] [columns, default 4096]
 *
 * FLASHLLM_CORE=plain or relaxed chooses the build of the core; unset, it is what the engine would
 * use. Times of one thread are processor times, which the load of other programs distorts less than
 * elapsed times; those of several threads are elapsed times, which are meaningful only on an idle machine.
 * Compare the columns "of read".
 *
 * Weights are passed over once per call, so the last-level cache is of no use as long as it is
 * smaller than they are. They are normally distributed with a deviation of 0.02, as trained weights
 * roughly are: a quarter of a percent of them are denormal in f16.
 */
import { availableParallelism, cpus } from 'node:os';
import { byteLength, isQuantised, neuronDTypes } from '../src/dtype.ts';
import { callAttention } from '../src/kernels/attention.ts';
import { activationCodes, type KernelActivation } from '../src/kernels/constants.ts';
import type { Kernels } from '../src/kernels/kernels.ts';
import { chooseBuild, compileCore, instantiateKernels } from '../src/kernels/module.ts';
import { availableThreads } from '../src/kernels/threads/available.ts';
import { ComputeThreads, threadScratchBytes } from '../src/kernels/threads/pool.ts';
import { neuronGroup, quantisedBytes, scratchBytes } from '../src/kernels/weight-kernels.ts';
import { createMemory } from '../src/pages.ts';
import { neuronBlock } from '../src/plan/activations.ts';
import { pagePositions } from '../src/plan/kv-layout.ts';
import { fillGgufWeights, ggufMeasurements } from './gguf-speeds.ts';
import { heading, type SpeedRow, speedLine } from './kernel-speeds.ts';

const MiB = 2 ** 20;
const weightBytes = Number(process.argv[2] ?? 1024) * MiB;
const filter = process.argv[3] ?? '';
const threads = Number(process.argv[4] ?? availableThreads());
/** Width of the model. Short and long rows behave differently: the prefetcher knows neither. */
const cols = Number(process.argv[5] ?? 4096);
const maxPositions = 64;
const layers = { heads: 32, headDim: 128, context: 2048 };

const memory = createMemory(weightBytes + 64 * MiB);
const build = chooseBuild();
const module = await compileCore(build);
/** On this thread alone. */
const kernels = await instantiateKernels(memory, module);

// The weights come last, everything else before them.
let next = 1024;
function allocate(bytes: number): number {
  const address = next;
  next = Math.ceil((next + bytes) / 4096) * 4096;
  return address;
}
const floats = (address: number, n: number) => new Float32Array(memory.buffer, address, n);

function gaussian(): number {
  return Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
}
/** Whole rows. */
const sampleCount = 4 * MiB - ((4 * MiB) % cols);
const sample = new Float32Array(sampleCount).map(() => 0.02 * gaussian());

const maxRows = Math.floor(weightBytes / byteLength('ternary', cols));
/** Rows of a matrix; larger weights are several. */
const matrixRows = 16384;
const widest = Math.max(cols, layers.heads * layers.headDim);
const x = allocate(4 * widest * maxPositions);
floats(x, widest * maxPositions).forEach((_, i, all) => {
  all[i] = gaussian();
});
const y = allocate(4 * widest * maxPositions);
const sums = allocate(4 * cols * Math.max(maxPositions, neuronBlock / neuronGroup));
const acts = allocate(4 * Math.max((maxRows / 2) * 8, 256 * neuronBlock));
const gates = allocate(4 * (maxRows / 2));
const ptrs = allocate(4 * maxRows);
const logits = allocate(4 * matrixRows * maxPositions);
const scratch = allocate(4 * sampleCount);
const unpacked = allocate(scratchBytes(cols));
const quantised = allocate(quantisedBytes(cols, maxPositions));
const bytesPerThread = threadScratchBytes({ cols, context: layers.context });
const threadScratch = { address: allocate(bytesPerThread * (threads - 1)), bytesPerThread };
const weights = allocate(0);
const pool = await ComputeThreads.start(threads);
const threaded = await pool.kernels(memory, { module, scratch: threadScratch });

const rows: SpeedRow[] = [];

/** The best of several runs: the speed of the machine when nothing else runs. */
function measure(
  kernel: string,
  bytes: number,
  flops: number,
  run: (kernels: Kernels) => void,
  runs = 5,
): void {
  // Whatever the filter, everything is compared with reading.
  if (rows.length > 0 && !kernel.includes(filter)) return;
  let [one, all] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
  for (let i = 0; i < runs; i++) {
    const start = process.cpuUsage();
    run(kernels);
    one = Math.min(one, process.cpuUsage(start).user / 1e6);
    if (threads === 1) continue;
    const started = performance.now();
    run(threaded);
    all = Math.min(all, (performance.now() - started) / 1000);
  }
  const row: SpeedRow = { kernel, bytes, flops, seconds: [one, all] };
  rows.push(row);
  process.stdout.write(speedLine(row, rows[0] ?? row));
}

const readName = `read ${weightBytes / MiB} MiB`;
process.stdout.write(
  `${cpus()[0]?.model ?? 'unknown processor'}, ${availableParallelism()} cores, Node ${process.version}, ${build} build\n${heading(threads)}`,
);

for (const dtype of neuronDTypes) {
  const rowBytes = byteLength(dtype, cols);
  floats(scratch, sampleCount).set(sample);
  const bytes = new Uint8Array(memory.buffer);
  const fill = (k: Kernels = kernels) => {
    for (let at = 0; at < sampleCount; at += cols) {
      k.byDType[dtype].fromF32(weights + byteLength(dtype, at), scratch + 4 * at, cols);
    }
  };
  fill();
  const patternBytes = byteLength(dtype, sampleCount);
  for (let at = patternBytes; at < weightBytes; at += patternBytes) {
    bytes.copyWithin(weights + at, weights, weights + Math.min(patternBytes, weightBytes - at));
  }
  const count = 2 * Math.floor(weightBytes / rowBytes / 2);
  const elements = count * cols;
  const usedBytes = count * rowBytes;
  if (rows.length === 0) {
    measure(readName, weightBytes, 0, (k) => void k.readSum(weights, weightBytes));
  }

  measure(`${dtype} matmul, 1 position`, usedBytes, 2 * elements, (k) => {
    const { matmul } = k.byDType[dtype];
    for (let row = 0; row < count; row += matrixRows) {
      const part = Math.min(matrixRows, count - row);
      matmul(logits, x, weights + row * rowBytes, 0, part, cols, 1, cols, part, unpacked);
    }
  });
  for (const positions of [4, 16, 64]) {
    const part = Math.min(count, 8192);
    measure(
      `${dtype} matmul, ${positions} positions`,
      part * rowBytes,
      2 * part * cols * positions,
      (k) =>
        k.byDType[dtype].matmul(logits, x, weights, 0, part, cols, positions, cols, part, unpacked),
      3,
    );
  }

  if (dtype === 'f16') {
    kernels.packedF16.pack(weights, count, rowBytes, 1, cols);
    measure('packed f16 matmul, 1 position', usedBytes, 2 * elements, (k) => {
      const { matmul } = k.packedF16;
      for (let row = 0; row < count; row += matrixRows) {
        const part = Math.min(matrixRows, count - row);
        matmul(logits, x, weights + row * rowBytes, 0, part, cols, 1, cols, part, unpacked);
      }
    });
    fill();
    for (let at = patternBytes; at < weightBytes; at += patternBytes) {
      bytes.copyWithin(weights + at, weights, weights + Math.min(patternBytes, weightBytes - at));
    }
  }

  // Bundles of an up row and a down column, in an order that is not that of memory.
  const bundleBytes = 2 * rowBytes;
  const neurons = count / 2;
  const list = new Uint32Array(memory.buffer, ptrs, neurons);
  list.forEach((_, i) => {
    list[i] = weights + bundleBytes * ((i * 7919) % neurons);
  });
  const relu = activationCodes.relu;
  measure(`${dtype} ffn up, 1 position`, usedBytes / 2, elements, (k) =>
    k.byDType[dtype].ffnUp(acts, x, ptrs, 0, neurons, cols, 1, cols, neurons, relu, unpacked),
  );
  // Bundles of a gate and an up row: here the part called "down" above is the second row.
  measure(`${dtype} gated ffn up, 1 position`, usedBytes, 2 * elements, (k) =>
    k.byDType[dtype].ffnGatedUp(
      acts,
      gates,
      x,
      ptrs,
      rowBytes,
      0,
      0,
      neurons,
      cols,
      1,
      cols,
      neurons,
      activationCodes.silu,
      activationCodes.none,
      unpacked,
    ),
  );
  const dense = floats(acts, Math.max(8 * neurons, 256 * neuronBlock)).fill(0.1);
  // In blocks, as the engine does it: their sums stay in the cache.
  const down1 = (k: Kernels) => {
    const { ffnSums } = k.byDType[dtype];
    for (let first = 0; first < neurons; first += neuronBlock) {
      const part = Math.min(neuronBlock, neurons - first);
      const [begin, end] = [first / neuronGroup, Math.ceil((first + part) / neuronGroup)];
      const at = 4 * first;
      ffnSums(sums, acts + at, ptrs + at, rowBytes, first, part, cols, 1, part, begin, end);
      k.fold(y, sums, end - begin, cols, cols);
    }
  };
  measure(`${dtype} ffn down, all active`, usedBytes / 2, elements, down1);
  for (const positions of [8, 64]) {
    const list = Math.min(neurons, positions === 8 ? neurons : 4 * neuronBlock);
    measure(
      `${dtype} ffn down, all active, ${positions} positions`,
      list * rowBytes,
      2 * positions * list * cols,
      (k) => {
        floats(sums, positions * cols).fill(0);
        k.byDType[dtype].ffnDown(
          y,
          sums,
          acts,
          ptrs,
          rowBytes,
          0,
          list,
          0,
          cols,
          positions,
          cols,
          list,
          unpacked,
        );
      },
      2,
    );
  }
  let active = 0;
  dense.forEach((_, i) => {
    dense[i] = Math.random() < 0.03 ? 0.1 : 0;
    if (i < neurons && dense[i] !== 0) active++;
  });
  measure(
    `${dtype} ffn down, 3 % active (bytes of those)`,
    active * rowBytes,
    2 * active * cols,
    down1,
  );

  measure(`${dtype} first non-finite`, usedBytes, 0, (k) => {
    if (k.byDType[dtype].firstNonFinite(weights, elements) !== -1)
      throw new Error('weights are finite');
  });
  // The output goes to the same megabytes again and again: only reading the source counts.
  measure(`${dtype} to f32`, usedBytes, 0, (k) => {
    const { toF32 } = k.byDType[dtype];
    for (let row = 0; row < count; row++) {
      toF32(scratch + 4 * cols * (row % 64), weights + row * rowBytes, cols);
    }
  });
  if (dtype !== 'f32') {
    floats(scratch, sampleCount).set(sample);
    measure(`f32 to ${dtype}`, 4 * sampleCount, 0, fill, isQuantised(dtype) ? 2 : 5);
  }
}

const gguf = { memory, weights, weightBytes, x, y: logits, cols, scratch: unpacked, quantised };
const ggufBench = { ...gguf, rowsPerCall: matrixRows };
fillGgufWeights(ggufBench);
for (const { kernel, bytes, flops, run } of ggufMeasurements(ggufBench)) {
  measure(kernel, bytes, flops, run, 3);
}

// A down matrix (hidden, neurons) is taken to bundles 256 columns at a time.
for (const elementBytes of [2, 4] as const) {
  const transposeOf = (k: Kernels) => (elementBytes === 2 ? k.transpose16 : k.transpose32);
  const chunk = 256;
  const half = weightBytes / 2;
  const chunks = Math.floor(half / (cols * chunk * elementBytes));
  measure(
    `transpose ${elementBytes} bytes, ${cols} x ${chunk}`,
    chunks * cols * chunk * elementBytes,
    0,
    (k) => {
      for (let i = 0; i < chunks; i++) {
        const at = i * cols * chunk * elementBytes;
        transposeOf(k)(
          weights + half + at,
          weights + at,
          cols,
          chunk,
          chunk * elementBytes,
          cols * elementBytes,
        );
      }
    },
    3,
  );
  const neurons = half / (cols * elementBytes);
  measure(
    `transpose ${elementBytes} bytes, ${cols} x ${neurons} into bundles`,
    (half * 3) / 4,
    0,
    (k) => {
      const bundleBytes = 2 * cols * elementBytes + 512;
      const fitting = Math.floor(half / bundleBytes);
      for (let first = 0; first < fitting; first += chunk) {
        transposeOf(k)(
          weights + half + first * bundleBytes + cols * elementBytes,
          weights + first * elementBytes,
          cols,
          Math.min(chunk, fitting - first),
          neurons * elementBytes,
          bundleBytes,
        );
      }
    },
    2,
  );
}

const { heads, headDim, context } = layers;
const width = heads * headDim;
const scale = 1 / Math.sqrt(headDim);
const cacheElements = context * width;
const pages = Math.ceil(context / pagePositions);
const table = allocate(4 * pages);
new Uint32Array(memory.buffer, table, pages).forEach((_, i, all) => {
  all[i] = i;
});
const batchRows = allocate(8 * maxPositions);
for (const dtype of ['f32', 'f16'] as const) {
  const values = weights + byteLength(dtype, cacheElements);
  floats(scratch, width).forEach((_, i, all) => {
    all[i] = sample[i]! * 50;
  });
  for (let at = 0; at < 2 * cacheElements; at += width) {
    kernels.byDType[dtype].fromF32(weights + byteLength(dtype, at), scratch, width);
  }
  for (const positions of [1, 64]) {
    new Uint32Array(memory.buffer, batchRows, 2 * positions).forEach((_, i, all) => {
      all[i] = i % 2 === 0 ? table : context - positions + (i >> 1);
    });
    measure(
      `attention, ${dtype} cache, ${positions} positions of ${context}`,
      byteLength(dtype, 2 * cacheElements),
      4 * positions * context * width,
      (k) => {
        callAttention(dtype === 'f32' ? k.attention : k.attentionF16, {
          ...{ out: y, q: x, rows: batchRows, keys: weights, values, scores: scratch },
          ...{ headStart: 0, headEnd: heads, group: 1, headDim },
          ...{ kvStride: width, qStride: width, outStride: width, length: context, positions },
          ...{ scale, window: context, bias: 0, biasStride: 0, biasScale: 1 },
          ...{ softCap: 0, sinks: 0 },
        });
      },
    );
  }
}
const vectorBytes = 4 * cols * maxPositions;
measure('layer norm, 64 positions', vectorBytes, 0, (k) =>
  k.layerNorm(y, x, x, x, cols, maxPositions, cols, cols, 1e-5),
);
measure('RMS norm, 64 positions', vectorBytes, 0, (k) =>
  k.rmsNorm(y, x, x, cols, maxPositions, cols, cols, 1e-5),
);
const { rotaryHalves, rotaryInterleaved } = kernels;
for (const [name, rotary] of Object.entries({ rotaryHalves, rotaryInterleaved })) {
  measure(`${name}, 64 positions`, vectorBytes, 0, () =>
    rotary(y, x, x, heads, headDim, headDim / 2, maxPositions, width),
  );
}
for (const [name, code] of Object.entries(activationCodes) as [KernelActivation, 0][]) {
  if (name === 'none') continue;
  measure(`activation ${name}`, vectorBytes, 0, (k) => {
    floats(y, cols * maxPositions).set(floats(x, cols * maxPositions));
    k.activation(y, cols * maxPositions, code, 0.1);
  });
}
await pool.close();
