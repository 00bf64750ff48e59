/**
 * Tokens per second by memory: a GGUF file's model here, and the file itself in llama.cpp (node-llama-cpp)
 * by mmap, each in a control group of exactly that memory, in turn. Prints a table in Markdown, and draws it.
 * Needs root on Linux, for the control groups, and `npm run build`.
 *
 *   node --import tsx scripts/bench-memory.ts <model> <file.gguf> --sizes 700MiB,900MiB,1200MiB
 *       [--rounds 1] [--tokens <n>] [--seconds <s>] [--patience <s>] [--label <text>] [--svg <file>]
 *
 * llama.cpp's backend that lays weights anew in memory of its own is set aside: it would be killed. A run
 * that makes no token, because it is killed or its first token does not come within
 * `--patience`, counts as 0.
 */

import { spawnSync } from 'node:child_process';
import { statSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { type BudgetPoint, budgetSvg } from '../src/bench/budget-chart.ts';
import { formatBytes, parseSize, resolveSize } from '../src/units.ts';
import { openMemoryGroup } from '../test/support/cgroup.ts';
import { installPeer, runPeer } from './llama-peer.ts';
import { median } from './median.ts';
import { text } from './text-option.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    ...{ sizes: text(''), rounds: text('1'), tokens: text('32'), seconds: text('60') },
    ...{ threads: text('2'), patience: text('300'), label: text(''), svg: text('') },
  },
});
const [dir, gguf] = positionals;
if (dir === undefined || gguf === undefined || values.sizes === '') {
  process.stderr.write('usage: bench-memory.ts <model> <file.gguf> --sizes <size,...> ...\n');
  process.exit(2);
}
const fileBytes = statSync(gguf).size;
const launcher = fileURLToPath(new URL('../bin/flashllm.cjs', import.meta.url));
const [threads, tokens, seconds] = [values.threads, values.tokens, values.seconds].map(Number);
installPeer();

interface Run {
  readonly tokensPerSecond: number;
  readonly peakRss: number;
}

/** Runs `work` in a control group of `bytes`, with no page of the file cached on another group's account. */
function limited(bytes: number, work: (under: readonly string[]) => Run): Run {
  const group = openMemoryGroup(bytes);
  if (group === null) throw new Error('a control group with a memory limit cannot be made here');
  spawnSync('dd', [`if=${gguf}`, 'iflag=nocache', 'count=0'], { stdio: 'ignore' });
  try {
    return work(group.under);
  } finally {
    group.remove();
  }
}

function ours(bytes: number, under: readonly string[]): Run {
  const [command = '', ...args] = [
    ...[...under, process.execPath, launcher, 'generate', dir as string],
    ...['--prompt', 'Once upon a time,', '--dram-budget', String(bytes), '--json'],
    ...['--max-tokens', values.tokens, '--temperature', '0', '--ignore-eos'],
    ...['--threads', values.threads],
  ];
  const { stdout, stderr, status } = spawnSync(command, args);
  if (status !== 0) {
    process.stderr.write(stderr);
    return { tokensPerSecond: 0, peakRss: 0 };
  }
  return (JSON.parse(stdout.toString()) as { stats: Run }).stats;
}

const theirs = (_: number, under: readonly string[]): Run =>
  runPeer({
    gguf,
    threads: threads ?? 2,
    tokens: tokens ?? 32,
    seconds: seconds ?? 60,
    mmap: true,
    under,
    patienceMs: Number(values.patience) * 1000,
  });

const ways = [
  { name: 'flashllm', run: ours },
  { name: 'llama.cpp, mmap', run: theirs },
] as const;
const lines = ways.map(({ name }) => ({ name, points: [] as BudgetPoint[] }));
const say = (line: string) => process.stdout.write(`${line}\n`);
say(
  '| memory | of the file | flashllm, tokens/s | llama.cpp by mmap | times | peak of flashllm | of llama.cpp |',
);
say('|---|---|---|---|---|---|---|');
for (const size of values.sizes.split(',')) {
  const bytes = resolveSize(parseSize(size, '--sizes'), fileBytes);
  const runs: Run[][] = ways.map(() => []);
  for (let round = 0; round < Number(values.rounds); round++) {
    for (const [i, { run }] of ways.entries()) {
      runs[i]?.push(limited(bytes, (under) => run(bytes, under)));
    }
  }
  const rates = runs.map((own) => own.map(({ tokensPerSecond }) => tokensPerSecond));
  for (const [i, own] of rates.entries()) {
    const [low, high] = [Math.min(...own), Math.max(...own)];
    lines[i]?.points.push({ budgetBytes: bytes, median: median(own), low, high });
  }
  const [own = 0, other = 0] = rates.map(median);
  const peaks = runs.map((all) => formatBytes(Math.max(...all.map(({ peakRss }) => peakRss))));
  const cells = [
    ...[formatBytes(bytes), `${Math.round((100 * bytes) / fileBytes)}%`],
    ...[own.toFixed(2), other === 0 ? 'none' : other.toFixed(2)],
    ...[other === 0 ? '' : (own / other).toFixed(1), ...peaks],
  ];
  say(`| ${cells.join(' | ')} |`);
}
const label = values.label === '' ? '' : `: ${values.label}`;
const notes = [
  `The file has ${formatBytes(fileBytes)}; each run in a control group of exactly the memory; ` +
    `${values.threads} threads, Node ${process.version}.`,
];
const title = `Tokens per second by memory${label}`;
if (values.svg !== '') writeFileSync(values.svg, budgetSvg(lines, { title, notes }));
