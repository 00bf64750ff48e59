import { createMemory, instantiateKernels } from '../src/kernels/module.ts';
import { dtypes } from '../src/dtype.ts';
const mem = createMemory(600 * 2 ** 20);
const k = await instantiateKernels(mem);
const cols = 4096;
const g = () => Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
for (const dtype of ['f32', 'f16', 'bf16'] as const) {
  const eb = dtypes[dtype].bytes;
  for (const [name, sigma, share, tiny] of [['sigma 0.02', 0.02, 0, 0], ['sigma 0.005', 0.005, 0, 0], ['sigma .1', .1, 0, 0], ['1% 1e-40', 0.02, 0.01, 1e-40], ['1% zero', 0.02, 0.01, 0], ['50% zero', .02, .5, 0], ['all zero', 0, 0, 0]] as const) {
    const n = 2 ** 22;
    const base = 64 * 2 ** 20, w = 128 * 2 ** 20;
    const f = new Float32Array(mem.buffer, base, n);
    for (let i = 0; i < n; i++) f[i] = Math.random() < share ? tiny : sigma * g();
    new Float32Array(mem.buffer, 65536, cols).forEach((_, i, a) => { a[i] = g(); });
    k.byDType[dtype].fromF32(w, base, n);
    const u8 = new Uint8Array(mem.buffer);
    const total = 256 * 2 ** 20;
    for (let at = n * eb; at < total; at += n * eb) u8.copyWithin(w + at, w, w + n * eb);
    const rows = total / eb / cols;
    let best = 1e9;
    for (let i = 0; i < 5; i++) { const t = performance.now(); k.byDType[dtype].matmul(1 << 20, 65536, w, 0, rows, cols, 1, cols, rows); best = Math.min(best, performance.now() - t); }
    process.stdout.write(`${dtype} ${name} ${(total / best / 1e6).toFixed(2)} GB/s\n`);
  }
}
