// Runs the tests. Node 20 does not expand globs for --test, and not every shell knows **.
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const wanted = process.argv.slice(2);
const files = readdirSync(`${root}test`, { recursive: true })
  .map((name) => `test/${name.replaceAll('\\', '/')}`)
  .filter((name) => name.endsWith('.test.ts'))
  .filter((name) => wanted.length === 0 || wanted.some((part) => name.includes(part)))
  .sort();
// Node leaves one core idle unless told otherwise: on two cores it would run one file at a time.
const concurrency = `--test-concurrency=${availableParallelism()}`;
const flags = ['--import', 'tsx', '--test', concurrency, '--test-reporter=spec'];
const { status } = spawnSync(process.execPath, [...flags, ...files], {
  cwd: root,
  stdio: 'inherit',
});
process.exit(status ?? 1);
