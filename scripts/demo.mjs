// Converts the bundled model, trains its predictors and lets it tell a story, as a user would from
// the command line.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const work = mkdtempSync(join(tmpdir(), 'flashllm-demo-'));
const model = join(work, 'stories.flash');

function flashllm(...args) {
  process.stderr.write(
    `\n$ flashllm ${args.map((arg) => (/\s/.test(arg) ? `"${arg}"` : arg)).join(' ')}\n`,
  );
  const { status } = spawnSync(process.execPath, [join(root, 'bin', 'flashllm.cjs'), ...args], {
    stdio: 'inherit',
  });
  if (status !== 0) process.exit(status ?? 1);
}

try {
  flashllm('convert', join(root, 'fixtures', 'stories-opt'), model);
  flashllm(
    ...['predict-train', model, '--data', join(root, 'fixtures', 'text', 'calib.txt')],
    ...['--max-tokens', '25000'],
    ...['--dram-budget', '256MiB'],
  );
  flashllm(
    ...['generate', model, '--prompt', 'Once upon a time', '--dram-budget', '128MiB'],
    ...['--max-tokens', '200', '--seed', '7', '--stats'],
  );
} finally {
  rmSync(work, { recursive: true, force: true });
}
