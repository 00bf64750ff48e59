/**
 * Compares flashllm with llama.cpp (node-llama-cpp), both with all weights in memory, the same threads and
 * about the same weight bytes, in alternating rounds. The peer is installed in a temporary directory.
 *
 *   node --import tsx scripts/bench-peer.ts <model> <file.gguf> [threads]
 */

import { execFileSync } from 'node:child_process';
import { statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { installPeer, runPeer } from './llama-peer.ts';
import { median } from './median.ts';

const [model = '', gguf = '', threads = '2'] = process.argv.slice(2);
if (model === '' || gguf === '') {
  process.stderr.write('usage: bench-peer.ts <model> <file.gguf> [threads]\n');
  process.exit(2);
}
const rounds = 3;
const tokens = 24;
const launcher = fileURLToPath(new URL('../bin/flashllm.cjs', import.meta.url));
installPeer();

const ours: number[] = [];
const theirs: number[] = [];
for (let round = 0; round < rounds; round++) {
  ours.push(runOurs());
  const request = { gguf, threads: Number(threads), tokens, seconds: 600, mmap: false };
  theirs.push(runPeer(request).tokensPerSecond);
}
const ratios = ours.map((rate, round) => rate / (theirs[round] ?? Number.NaN));
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
