/**
 * Runs our commands on thousands of broken and hostile inputs, made from the fixtures by seeded dice.
 * Each command must end soon, in bounded memory, and either do its work or print one clear line.
 *
 *   npm run fuzz -- --seed 1 --cases 15000 [--jobs 2] [--first 0] [--routes gguf,model]
 *   npm run fuzz -- --seed 1 --case 1234 [--keep <directory>]
 *
 * --refusals lists the reasons for which inputs were refused. Every hundredth case runs the built command
 * line in processes of its own (--outside-every).
 * The exit code is 1 if any fault was found.
 */

import { mkdtempSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { buildCorpus, type Route, routes } from './fuzz/corpus.ts';
import { runCases } from './fuzz/pool.ts';
import { Summary } from './fuzz/summary.ts';

const text = { type: 'string' } as const;
const { values } = parseArgs({
  options: {
    seed: { ...text, default: '1' },
    cases: { ...text, default: '1000' },
    first: { ...text, default: '0' },
    case: text,
    jobs: { ...text, default: String(availableParallelism()) },
    routes: { ...text, default: '' },
    keep: text,
    refusals: { type: 'boolean', default: false },
    'outside-every': { ...text, default: '100' },
  },
});

/** Larger seeds would give no different cases. */
const largestSeed = 2 ** 20;
const seed = whole('seed', values.seed, largestSeed);
const wantedRoutes = values.routes.split(',').filter((name) => name !== '');
const strange = wantedRoutes.find((name) => !routes.some((route) => route === name));
if (strange !== undefined) fail(`no route ${strange}; there are ${routes.join(', ')}`);

const alone = values.case === undefined ? null : whole('case', values.case);
const first = whole('first', values.first);
const count = whole('cases', values.cases);
const cases = alone === null ? Array.from({ length: count }, (_, i) => first + i) : [alone];

const work = values.keep ?? mkdtempSync(join(tmpdir(), 'flashllm-fuzz-'));
const summary = new Summary();
process.on('SIGINT', () => process.exit(130));
process.on('exit', () => {
  if (values.keep === undefined) rmSync(work, { recursive: true, force: true });
});
const started = performance.now();
const corpus = join(work, 'corpus');
rmSync(corpus, { recursive: true, force: true });
await buildCorpus(corpus);
note(`inputs made in ${Math.round(performance.now() - started)} ms`);
await runCases({
  seed,
  corpus,
  work,
  cases,
  routes: wantedRoutes as Route[],
  jobs: whole('jobs', values.jobs),
  outsideEvery: whole('outside-every', values['outside-every']),
  keep: values.keep !== undefined,
  onResult(result) {
    summary.add(result);
    if (alone !== null) note(JSON.stringify(result, null, 1).replaceAll('\\n', '\n'));
    if (summary.cases % 1000 === 0) note(`${summary.cases} cases`);
  },
});
if (values.refusals) process.stdout.write(summary.refusals());
process.stdout.write(
  summary.text((number) => `npm run fuzz -- --seed ${seed} --case ${number}${routeFlag()}`),
);
note(`${Math.round((performance.now() - started) / 1000)} s`);
if (summary.faulty) process.exitCode = 1;

function routeFlag(): string {
  return wantedRoutes.length === 0 ? '' : ` --routes ${wantedRoutes.join(',')}`;
}

function whole(name: string, value: string, limit = Number.MAX_SAFE_INTEGER): number {
  const number = Number(value);
  if (!Number.isInteger(number) || number < 0 || number > limit) {
    fail(`--${name} must be a whole number up to ${limit}, not ${value}`);
  }
  return number;
}

function note(line: string): void {
  process.stderr.write(`${line}\n`);
}

function fail(message: string): never {
  note(message);
  process.exit(2);
}
