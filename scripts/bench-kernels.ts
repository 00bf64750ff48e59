/**
 * How fast each kernel is on one thread of this machine, beside the speed at which the machine
 * reads memory, measured in the same run with the plainest of all kernels.
 *
 *     node --import tsx scripts/bench-kernels.ts [MiB of weights, default 1024] [name filter]
 *
 * FLASHLLM_CORE=plain or relaxed chooses the build of the core; unset, it is what the engine would
 * use. Times are processor times, which other programs' load spoils less than it does the clock's;
 * compare what stands in the column "of read".
 *
 * Weights are passed over once per call, so the last-level cache is of no use as long as it is
 * smaller than they are. They are normally distributed with a deviation of 0.02, as trained weights
 * roughly are: a quarter of a percent of them are denormal in f16.
 */
import { availableParallelism, cpus } from 'node:os';
import { byteLength, dtypeNames, isQuantised } from '../src/dtype.ts';
import {
  type Activation,
  activationCodes,
  neuronGroup,
  scratchBytes,
} from '../src/kernels/kernels.ts';
import {
  chooseBuild,
  compileCore,
  createMemory,
  instantiateKernels,
} from '../src/kernels/module.ts';
import { neuronBlock } from '../src/memory/activations.ts';

const MiB = 2 ** 20;
const weightBytes = Number(process.argv[2] ?? 1024) * MiB;
const filter = process.argv[3] ?? '';
/** Width of the model. */
const cols = 4096;
const maxPositions = 64;
const layers = { heads: 32, headDim: 128, context: 2048 };

const memory = createMemory(weightBytes + 64 * MiB);
const build = chooseBuild();
const kernels = await instantiateKernels(memory, await compileCore(build));

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
const sampleCount = 4 * MiB;
const sample = new Float32Array(sampleCount).map(() => 0.02 * gaussian());

const maxRows = Math.floor(weightBytes / byteLength('q4', cols));
/** Rows of a matrix; larger weights are several. */
const matrixRows = 16384;
const x = allocate(4 * cols * maxPositions);
floats(x, cols * maxPositions).forEach((_, i, all) => {
  all[i] = gaussian();
});
const y = allocate(4 * cols * maxPositions);
const sums = allocate(4 * cols * Math.max(8, neuronBlock / neuronGroup));
const acts = allocate(4 * (maxRows / 2) * 8);
const ptrs = allocate(4 * maxRows);
const logits = allocate(4 * matrixRows * maxPositions);
const scratch = allocate(4 * sampleCount);
const unpacked = allocate(scratchBytes(cols));
const weights = allocate(0);

interface Row {
  readonly kernel: string;
  readonly bytes: number;
  readonly flops: number;
  readonly seconds: number;
}
const rows: Row[] = [];

/** The best of several runs: what the machine can do when nothing else wants it. */
function measure(kernel: string, bytes: number, flops: number, run: () => void, runs = 5): void {
  // Whatever the filter, everything is compared with reading.
  if (rows.length > 0 && !kernel.includes(filter)) return;
  let best = Number.POSITIVE_INFINITY;
  for (let i = 0; i < runs; i++) {
    const start = process.cpuUsage();
    run();
    best = Math.min(best, process.cpuUsage(start).user / 1e6);
  }
  const row = { kernel, bytes, flops, seconds: best };
  rows.push(row);
  print(row);
}

function print({ kernel, bytes, flops, seconds }: Row): void {
  const speed = bytes / seconds / 1e9;
  const reading = rows[0]!;
  const cells = [
    kernel.padEnd(40),
    speed.toFixed(2).padStart(8),
    flops === 0 ? ''.padStart(9) : (flops / seconds / 1e9).toFixed(2).padStart(9),
    `${((100 * speed) / (reading.bytes / reading.seconds / 1e9)).toFixed(0)} %`.padStart(8),
    (seconds * 1e3).toFixed(2).padStart(10),
  ];
  process.stdout.write(`${cells.join('  ')}\n`);
}

const readName = `read ${weightBytes / MiB} MiB`;
process.stdout.write(
  `${cpus()[0]?.model ?? 'unknown processor'}, ${availableParallelism()} cores, Node ${process.version}, ${build} build, one thread\n` +
    `${'kernel'.padEnd(40)}  ${'GB/s'.padStart(8)}  ${'GFLOP/s'.padStart(9)}  ${'of read'.padStart(8)}  ${'ms'.padStart(10)}\n`,
);

for (const dtype of dtypeNames) {
  const { matmul, ffnUp, ffnSums, ffnDown, toF32, fromF32, firstNonFinite } =
    kernels.byDType[dtype];
  const rowBytes = byteLength(dtype, cols);
  floats(scratch, sampleCount).set(sample);
  const bytes = new Uint8Array(memory.buffer);
  const fill = () => {
    for (let at = 0; at < sampleCount; at += cols) {
      fromF32(weights + byteLength(dtype, at), scratch + 4 * at, cols);
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
    measure(readName, weightBytes, 0, () => void kernels.readSum(weights, weightBytes));
  }

  measure(`${dtype} matmul, 1 position`, usedBytes, 2 * elements, () => {
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
      () => matmul(logits, x, weights, 0, part, cols, positions, cols, part, unpacked),
      3,
    );
  }

  // Bundles of an up row and a down column, in an order that is not that of memory.
  const bundleBytes = 2 * rowBytes;
  const neurons = count / 2;
  const list = new Uint32Array(memory.buffer, ptrs, neurons);
  list.forEach((_, i) => {
    list[i] = weights + bundleBytes * ((i * 7919) % neurons);
  });
  const relu = activationCodes.relu;
  measure(`${dtype} ffn up, 1 position`, usedBytes / 2, elements, () =>
    ffnUp(acts, x, ptrs, 0, neurons, cols, 1, cols, neurons, relu, unpacked),
  );
  const dense = floats(acts, neurons * 8).fill(0.1);
  // In blocks, as the engine does it: their sums stay in the cache.
  const down1 = () => {
    for (let first = 0; first < neurons; first += neuronBlock) {
      const part = Math.min(neuronBlock, neurons - first);
      const [begin, end] = [first / neuronGroup, Math.ceil((first + part) / neuronGroup)];
      const at = 4 * first;
      ffnSums(sums, acts + at, ptrs + at, rowBytes, first, part, cols, begin, end);
      kernels.fold(y, sums, end - begin, cols, cols);
    }
  };
  measure(`${dtype} ffn down, all active`, usedBytes / 2, elements, down1);
  measure(
    `${dtype} ffn down, all active, 8 positions`,
    usedBytes / 2,
    8 * elements,
    () => {
      floats(sums, 8 * cols).fill(0);
      ffnDown(y, sums, acts, ptrs, rowBytes, 0, neurons, 0, cols, 8, cols, neurons, unpacked);
    },
    2,
  );
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

  measure(`${dtype} first non-finite`, usedBytes, 0, () => {
    if (firstNonFinite(weights, elements) !== -1) throw new Error('weights are finite');
  });
  // Into the same megabytes again and again: the source counts.
  measure(`${dtype} to f32`, usedBytes, 0, () => {
    for (let row = 0; row < count; row++) {
      toF32(scratch + 4 * cols * (row % 64), weights + row * rowBytes, cols);
    }
  });
  if (dtype !== 'f32') {
    floats(scratch, sampleCount).set(sample);
    measure(`f32 to ${dtype}`, 4 * sampleCount, 0, fill, isQuantised(dtype) ? 2 : 5);
  }
}

// A down matrix (hidden, neurons) is taken to bundles 256 columns at a time.
for (const elementBytes of [2, 4] as const) {
  const transpose = elementBytes === 2 ? kernels.transpose16 : kernels.transpose32;
  const chunk = 256;
  const half = weightBytes / 2;
  const chunks = Math.floor(half / (cols * chunk * elementBytes));
  measure(
    `transpose ${elementBytes} bytes, ${cols} x ${chunk}`,
    chunks * cols * chunk * elementBytes,
    0,
    () => {
      for (let i = 0; i < chunks; i++) {
        const at = i * cols * chunk * elementBytes;
        transpose(
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
    () => {
      const bundleBytes = 2 * cols * elementBytes + 512;
      const fitting = Math.floor(half / bundleBytes);
      for (let first = 0; first < fitting; first += chunk) {
        transpose(
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
const cacheBytes = 2 * 4 * context * width;
floats(weights, cacheBytes / 4).forEach((_, i, all) => {
  all[i] = sample[i % sampleCount]! * 50;
});
const v = weights + cacheBytes / 2;
for (const positions of [1, 64]) {
  const start = context - positions;
  measure(
    `attention, ${positions} positions, context ${context}`,
    cacheBytes,
    4 * positions * context * width,
    () =>
      kernels.attention(
        y,
        x,
        weights,
        v,
        scratch,
        0,
        heads,
        1,
        headDim,
        width,
        width,
        width,
        start,
        positions,
        scale,
        context,
        0,
        0,
      ),
  );
}
const vectorBytes = 4 * cols * maxPositions;
measure('layer norm, 64 positions', vectorBytes, 0, () =>
  kernels.layerNorm(y, x, x, x, cols, maxPositions, cols, cols, 1e-5),
);
for (const [name, code] of Object.entries(activationCodes) as [Activation, 0][]) {
  if (name === 'none') continue;
  measure(`activation ${name}`, vectorBytes, 0, () => {
    floats(y, cols * maxPositions).set(floats(x, cols * maxPositions));
    kernels.activation(y, cols * maxPositions, code, 0.1);
  });
}
