/**
 * Compares our reads with fio's on the same file: random chunks with 32 in flight, in alternating
 * rounds; then the streaming of `generate --exact` with almost nothing resident against fio's large
 * sequential reads. Needs fio, and a model of at least a few hundred MB.
 *
 *   UV_THREADPOOL_SIZE=32 node --import tsx scripts/bench-reads.ts <model>
 */

import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { DeviceFile } from '../src/flash/device-file.ts';
import { bundlesFile } from '../src/flash/manifest.ts';
import { measureCell } from '../src/flash/probe.ts';

const rounds = 5;
const depth = 32;
const [model = ''] = process.argv.slice(2);
if (model === '' || process.env.UV_THREADPOOL_SIZE !== String(depth)) {
  process.stderr.write(`usage: UV_THREADPOOL_SIZE=${depth} bench-reads.ts <model>\n`);
  process.exit(2);
}
const path = join(model, bundlesFile);
const launcher = fileURLToPath(new URL('../bin/flashllm.cjs', import.meta.url));

const file = await DeviceFile.open(path);
process.stdout.write(`direct I/O: ${file.direct}; MiB/s, median of ${rounds} alternating rounds\n`);
for (const chunk of [32, 64, 128, 1024].map((kib) => kib * 1024)) {
  const ratios: number[] = [];
  const ours: number[] = [];
  const theirs: number[] = [];
  for (let round = 0; round < rounds; round++) {
    const a = (await measureCell(file, { chunk, depth, ms: 1000 })).bytesPerSecond;
    const b = fio(['--rw=randread', `--bs=${chunk}`, `--numjobs=${depth}`]);
    ours.push(a);
    theirs.push(b);
    ratios.push(a / b);
  }
  const name = `random ${chunk / 1024} KiB, ${depth} in flight`;
  report(name, ours, theirs, ratios);
}
file.close();

const ours: number[] = [];
const theirs: number[] = [];
const ratios: number[] = [];
for (let round = 0; round < rounds; round++) {
  const a = streaming();
  const b = fio(['--rw=read', '--bs=1m', '--numjobs=8', '--offset_increment=10%']);
  ours.push(a);
  theirs.push(b);
  ratios.push(a / b);
}
report('generate --exact at the floor / sequential 1 MiB', ours, theirs, ratios);

function report(name: string, a: number[], b: number[], ratio: number[]): void {
  const mib = (values: number[]) => (median(values) / 1024 ** 2).toFixed(0).padStart(5);
  const spread = `${Math.min(...ratio).toFixed(2)}-${Math.max(...ratio).toFixed(2)}`;
  process.stdout.write(
    `${name.padEnd(50)} ours ${mib(a)}  fio ${mib(b)}  ratio ${median(ratio).toFixed(2)} (${spread})\n`,
  );
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
}

/** Bytes per second of one fio run of a second. */
function fio(args: readonly string[]): number {
  const output = execFileSync('fio', [
    ...['--name=bench', `--filename=${path}`, '--readonly', '--direct=1', '--ioengine=psync'],
    ...['--time_based', '--runtime=1', '--group_reporting', '--output-format=json', ...args],
  ]);
  const { jobs } = JSON.parse(output.toString()) as { jobs: { read: { bw_bytes: number } }[] };
  return jobs[0]?.read.bw_bytes ?? 0;
}

/** Bytes per second of decoding with the least budget, all waiting and computing included. */
function streaming(): number {
  const run = (budget: string, tokens: number) =>
    execFileSync(
      process.execPath,
      [
        ...[launcher, 'generate', model, '--exact', '--temperature', '0', '--json'],
        ...['--prompt', 'Once', '--max-tokens', String(tokens), '--dram-budget', budget],
      ],
      { stdio: ['ignore', 'pipe', 'pipe'] },
    ).toString();
  let floor = '';
  try {
    run('1MiB', 6);
  } catch (error) {
    floor = /Give at least (\d+MiB)/.exec(String((error as { stderr: Buffer }).stderr))?.[1] ?? '';
  }
  const { stats } = JSON.parse(run(floor, 6)) as {
    stats: { flashBytes: number; prefillMs: number; decodeMs: number };
  };
  return (stats.flashBytes * 1000) / (stats.prefillMs + stats.decodeMs);
}
