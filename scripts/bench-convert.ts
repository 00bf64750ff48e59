/**
 * How long converting a GGUF file takes compared with copying it with `cp`, in pairs of runs, each of which ends
 * when everything is on the device. The file is in the page cache for both, unless it is larger than memory; with
 * --cold it is not cached for either (needs root, on Linux). The script also prints the start-up time of the
 * process, measured with `--version`.
 *
 *     npm run build
 *     node --import tsx scripts/bench-convert.ts model.gguf [--pairs 5] [--cold]
 *         [--dir folder on the same disk] [-- more options of convert]
 */

import { spawnSync } from 'node:child_process';
import {
  closeSync,
  fsyncSync,
  mkdtempSync,
  openSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { median } from './median.ts';

const own = process.argv.slice(2);
const cut = own.includes('--') ? own.indexOf('--') : own.length;
const { values, positionals } = parseArgs({
  args: own.slice(0, cut),
  allowPositionals: true,
  options: {
    pairs: { type: 'string', default: '5' },
    cold: { type: 'boolean', default: false },
    dir: { type: 'string' },
  },
});
const [file] = positionals;
if (file === undefined) throw new Error('no GGUF file given');
const more = own.slice(cut + 1);
const launcher = fileURLToPath(new URL('../bin/flashllm.cjs', import.meta.url));
const dir = mkdtempSync(join(values.dir ?? dirname(file), 'bench-convert-'));
const copy = join(dir, 'copy.gguf');
const model = join(dir, 'model.flash');

const say = (line: string): boolean => process.stdout.write(`${line}\n`);
const ms = { copy: [] as number[], convert: [] as number[], start: [] as number[] };

function timed(list: number[], work: () => void): void {
  if (values.cold) {
    spawnSync('sync');
    writeFileSync('/proc/sys/vm/drop_caches', '3');
  }
  const start = performance.now();
  work();
  list.push(performance.now() - start);
}

function copyOnce(): void {
  const { status, stderr } = spawnSync('cp', [file as string, copy], { encoding: 'utf8' });
  if (status !== 0) throw new Error(stderr);
  const handle = openSync(copy, 'r');
  fsyncSync(handle);
  closeSync(handle);
}

function convertOnce(): void {
  const { status, stderr } = spawnSync(
    process.execPath,
    [launcher, 'convert', file as string, model, ...more],
    { encoding: 'utf8' },
  );
  if (status !== 0) throw new Error(stderr);
}

const size = (path: string): number =>
  readdirSync(path).reduce((sum, name) => sum + statSync(join(path, name)).size, 0);

try {
  for (let pair = 0; pair < Number(values.pairs); pair++) {
    rmSync(copy, { force: true });
    rmSync(model, { recursive: true, force: true });
    timed(ms.copy, copyOnce);
    timed(ms.convert, convertOnce);
    timed(ms.start, () => spawnSync(process.execPath, [launcher, '--version']));
    const [cp, conversion] = [ms.copy.at(-1) ?? 0, ms.convert.at(-1) ?? 0];
    say(
      `pair ${pair + 1}: copy ${cp.toFixed(0)} ms, convert ${conversion.toFixed(0)} ms, ${(cp / conversion).toFixed(2)} of its speed`,
    );
  }
  const bytes = statSync(file).size;
  const ratio = median(ms.copy) / median(ms.convert);
  say(
    `median: copy ${median(ms.copy).toFixed(0)} ms, convert ${median(ms.convert).toFixed(0)} ms ` +
      `(of which ${median(ms.start).toFixed(0)} to start), ${ratio.toFixed(2)} of its speed; ` +
      `the model directory is ${(size(model) / bytes).toFixed(4)} of the file`,
  );
} finally {
  rmSync(dir, { recursive: true, force: true });
}
