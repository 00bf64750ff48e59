/**
 * Two ways to keep reads in flight, with both cores idle and with both computing: libuv's pool
 * (asynchronous reads, 32 in flight) and workers that read synchronously into shared memory.
 *
 *   UV_THREADPOOL_SIZE=32 node --import tsx scripts/bench-readers.ts <large file>
 */

import fs from 'node:fs';
import { setImmediate as turn } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';

const [path = ''] = process.argv.slice(2);
if (path === '') {
  process.stderr.write('usage: UV_THREADPOOL_SIZE=32 bench-readers.ts <large file>\n');
  process.exit(2);
}
const runMs = 1500;
const depth = 32;
const workers = 8;
/** The main thread computes for this long between two iterations of its event loop, as decoding does. */
const burstMs = 2;
const memory = new WebAssembly.Memory({ initial: 512, maximum: 512, shared: true });
const fd = fs.openSync(path, fs.constants.O_RDONLY | fs.constants.O_DIRECT);
const { size } = fs.fstatSync(fd);

/** [next place, reads done, workers that stopped, stop] */
const control = new Int32Array(new SharedArrayBuffer(16));

const workerCode = `
const fs = require('node:fs');
const { workerData: d } = require('node:worker_threads');
const control = new Int32Array(d.control);
if (d.busy) {
  let x = 1;
  while (Atomics.load(control, 3) === 0) for (let i = 0; i < 1e5; i++) x = (x * 1.0000001) % 7;
} else {
  const target = new Uint8Array(d.memory, d.address, d.chunk);
  while (Atomics.load(control, 3) === 0) {
    const place = Atomics.add(control, 0, 1);
    fs.readSync(d.fd, target, 0, d.chunk, ((place * 7919) % d.places) * d.chunk);
    Atomics.add(control, 1, 1);
  }
}
Atomics.add(control, 2, 1);
`;

for (const chunk of [32, 128, 1024].map((kib) => kib * 1024)) {
  for (const busy of [false, true]) {
    const pool = await withPool(chunk, busy);
    const threads = await withWorkers(chunk, busy);
    process.stdout.write(
      `${String(chunk / 1024).padStart(5)} KiB, cores ${busy ? 'computing' : 'idle     '}: ` +
        `pool ${pool.toFixed(0).padStart(5)} MiB/s, ${workers} workers ${threads.toFixed(0).padStart(5)} MiB/s\n`,
    );
  }
}

function spawn(data: object): Worker {
  return new Worker(workerCode, { eval: true, workerData: { control: control.buffer, ...data } });
}

/** Computes in bursts, so that the event loop turns only in between. */
async function passTime(busy: boolean): Promise<void> {
  const started = performance.now();
  while (performance.now() - started < runMs) {
    if (busy) {
      const burst = performance.now();
      let x = 1;
      while (performance.now() - burst < burstMs) for (let i = 0; i < 1000; i++) x = (x * 1.1) % 7;
    }
    await (busy ? turn() : new Promise((resolve) => setTimeout(resolve, 5)));
  }
}

async function withPool(chunk: number, busy: boolean): Promise<number> {
  control.fill(0);
  const other = busy ? spawn({ busy: true }) : null;
  const places = Math.floor(size / chunk);
  let next = 0;
  let reads = 0;
  let inFlight = 0;
  let stopped = false;
  const submit = (lane: number) => {
    if (stopped) return;
    inFlight++;
    const address = (lane * chunk) % (32 * 2 ** 20 - chunk + 1);
    const target = new Uint8Array(memory.buffer, address - (address % 4096), chunk);
    fs.read(fd, target, 0, chunk, ((next++ * 7919) % places) * chunk, () => {
      inFlight--;
      reads++;
      submit(lane);
    });
  };
  const started = performance.now();
  for (let lane = 0; lane < depth; lane++) submit(lane);
  await passTime(busy);
  const seconds = (performance.now() - started) / 1000;
  const rate = (reads * chunk) / 2 ** 20 / seconds;
  stopped = true;
  while (inFlight > 0) await turn();
  Atomics.store(control, 3, 1);
  await other?.terminate();
  return rate;
}

async function withWorkers(chunk: number, busy: boolean): Promise<number> {
  control.fill(0);
  const places = Math.floor(size / chunk);
  const threads = Array.from({ length: workers }, (_, index) =>
    spawn({ memory: memory.buffer, address: index * 2 ** 20, chunk, fd, places }),
  );
  if (busy) threads.push(spawn({ busy: true }));
  while (Atomics.load(control, 1) < workers) await turn();
  const before = Atomics.load(control, 1);
  const started = performance.now();
  await passTime(busy);
  const seconds = (performance.now() - started) / 1000;
  const rate = ((Atomics.load(control, 1) - before) * chunk) / 2 ** 20 / seconds;
  Atomics.store(control, 3, 1);
  while (Atomics.load(control, 2) < threads.length) await turn();
  await Promise.all(threads.map((thread) => thread.terminate()));
  return rate;
}
