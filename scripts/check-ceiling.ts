/**
 * Runs a model at five budgets from the floor to its own size, each inside a control group whose
 * limit is the budget, and checks the promises of the budget: nothing is killed, the peak stays below
 * it, and the tokens are those of an unlimited run. Needs root on Linux.
 *
 *   node --import tsx scripts/check-ceiling.ts <model> [tokens]
 */

import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const MIB = 1024 * 1024;
const [model = '', tokens = '8'] = process.argv.slice(2);
if (model === '') {
  process.stderr.write('usage: check-ceiling.ts <model> [tokens]\n');
  process.exit(2);
}
const launcher = fileURLToPath(new URL('../bin/flashllm.cjs', import.meta.url));
const args = [
  ...[launcher, 'generate', model, '--exact', '--temperature', '0', '--json'],
  ...['--prompt', 'Once upon a time', '--max-tokens', tokens],
];

interface Output {
  readonly tokens: number[];
  readonly stats: {
    peakRss: number;
    tokensPerSecond: number;
    flashBytes: number;
    directIo: boolean;
  };
}

const version1 = existsSync('/sys/fs/cgroup/memory');
const group = `${version1 ? '/sys/fs/cgroup/memory' : '/sys/fs/cgroup'}/flashllm-${process.pid}`;
const files = version1
  ? {
      limit: 'memory.limit_in_bytes',
      peak: 'memory.max_usage_in_bytes',
      events: 'memory.oom_control',
    }
  : { limit: 'memory.max', peak: 'memory.peak', events: 'memory.events' };

const refusal = spawnSync(process.execPath, [...args, '--dram-budget', '1MiB']).stderr.toString();
const floor = Number(/Give at least (\d+)MiB/.exec(refusal)?.[1]);
const unlimited = JSON.parse(
  execFileSync(process.execPath, args, { stdio: 'pipe' }).toString(),
) as Output;
const whole = Math.ceil(unlimited.stats.peakRss / MIB) + 32;
let failed = false;
for (const share of [0, 0.15, 0.4, 0.7, 1]) {
  const budget = Math.round(floor + share * (whole - floor));
  failed = !runAt(budget) || failed;
}
process.exitCode = failed ? 1 : 0;

function runAt(budget: number): boolean {
  mkdirSync(group);
  try {
    writeFileSync(`${group}/${files.limit}`, String(budget * MIB));
    const join = `echo $$ > ${group}/cgroup.procs && exec "$@"`;
    const run = spawnSync('sh', [
      ...['-c', join, 'sh', process.execPath, ...args, '--dram-budget', `${budget}MiB`],
    ]);
    const kills = Number(
      /oom_kill (\d+)/.exec(readFileSync(`${group}/${files.events}`, 'utf8'))?.[1],
    );
    const charged = Number(readFileSync(`${group}/${files.peak}`, 'utf8'));
    if (run.status !== 0) {
      process.stdout.write(`${budget} MiB: failed, ${kills} kills\n${run.stderr}\n`);
      return false;
    }
    const { tokens: made, stats } = JSON.parse(run.stdout.toString()) as Output;
    const same = JSON.stringify(made) === JSON.stringify(unlimited.tokens);
    const ok = same && kills === 0 && stats.peakRss <= budget * MIB;
    process.stdout.write(
      `${String(budget).padStart(6)} MiB: peak RSS ${(stats.peakRss / MIB).toFixed(1)}, ` +
        `group ${(charged / MIB).toFixed(1)}, ${kills} kills, ` +
        `${same ? 'same' : 'OTHER'} tokens, ${stats.tokensPerSecond.toFixed(2)} tokens/s, ` +
        `${(stats.flashBytes / 1e9).toFixed(2)} GB read, direct ${stats.directIo}: ${ok ? 'ok' : 'FAILED'}\n`,
    );
    return ok;
  } finally {
    rmdirSync(group);
  }
}
