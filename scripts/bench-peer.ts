/**
 * flashllm beside llama.cpp (node-llama-cpp), both with all weights in memory, the same threads and
 * about the same weight bytes, in alternating rounds. The peer is installed in a temporary directory.
 *
 *   node --import tsx scripts/bench-peer.ts <model> <file.gguf> [threads]
 */

import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const [model = '', gguf = '', threads = '2'] = process.argv.slice(2);
if (model === '' || gguf === '') {
  process.stderr.write('usage: bench-peer.ts <model> <file.gguf> [threads]\n');
  process.exit(2);
}
const rounds = 3;
const tokens = 24;
const launcher = fileURLToPath(new URL('../bin/flashllm.cjs', import.meta.url));
const peer = join(tmpdir(), 'flashllm-peer');

const peerCode = `
import { getLlama } from 'node-llama-cpp';
const [file, threads, tokens] = process.argv.slice(2);
const llama = await getLlama({ gpu: false, build: 'never', logLevel: 'error', maxThreads: +threads });
const model = await llama.loadModel({ modelPath: file, useMmap: false });
const context = await model.createContext({ contextSize: 256, threads: { ideal: +threads, min: +threads } });
const sequence = context.getSequence();
let made = 0;
let started = 0;
for await (const _ of sequence.evaluate([1, 300, 301, 302, 303], { temperature: 0 })) {
  if (made++ === 0) started = performance.now();
  if (made > +tokens) break;
}
console.log(JSON.stringify({ tokensPerSecond: ((made - 1) * 1000) / (performance.now() - started) }));
process.exit(0);
`;
if (!existsSync(join(peer, 'node_modules', 'node-llama-cpp'))) {
  mkdirSync(peer, { recursive: true });
  writeFileSync(join(peer, 'package.json'), '{"type":"module"}');
  execFileSync('npm', ['install', '--ignore-scripts', 'node-llama-cpp@3'], { cwd: peer });
}
writeFileSync(join(peer, 'run.mjs'), peerCode);

const ours: number[] = [];
const theirs: number[] = [];
for (let round = 0; round < rounds; round++) {
  ours.push(runOurs());
  theirs.push(runPeer());
}
const ratios = ours.map((rate, round) => rate / (theirs[round] ?? Number.NaN));
const median = (values: readonly number[]) =>
  [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
const show = (values: readonly number[]) => values.map((value) => value.toFixed(2)).join(' ');
process.stdout.write(
  `${threads} threads, tokens/s in ${rounds} alternating rounds\n` +
    `flashllm   ${show(ours)}\n` +
    `llama.cpp  ${show(theirs)}   (${(statSync(gguf).size / 1e9).toFixed(2)} GB file)\n` +
    `ratio      ${show(ratios)}   median ${median(ratios).toFixed(2)}\n`,
);

function runOurs(): number {
  const output = execFileSync(
    process.execPath,
    [
      ...[launcher, 'generate', model, '--exact', '--temperature', '0', '--json'],
      ...['--prompt', 'Once upon a time', '--max-tokens', String(tokens), '--threads', threads],
    ],
    { stdio: ['ignore', 'pipe', 'ignore'] },
  );
  const { stats } = JSON.parse(output.toString()) as { stats: { tokensPerSecond: number } };
  return stats.tokensPerSecond;
}

function runPeer(): number {
  const output = execFileSync(process.execPath, ['run.mjs', gguf, threads, String(tokens)], {
    cwd: peer,
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  return (JSON.parse(output.toString()) as { tokensPerSecond: number }).tokensPerSecond;
}
