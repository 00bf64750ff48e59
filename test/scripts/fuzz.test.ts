/** The fuzzer's short run, and that it sees what it is there for. The long one: `npm run fuzz`. */

import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { buildCorpus } from '../../scripts/fuzz/corpus.ts';
import { type PoolOptions, runCases } from '../../scripts/fuzz/pool.ts';
import type { CaseResult } from '../../scripts/fuzz/result.ts';
import { Summary } from '../../scripts/fuzz/summary.ts';
import { temporaryRoot } from '../support/temporary.ts';

const root = temporaryRoot();
const corpus = root.directory();
const common = { seed: 1, corpus, routes: [], outsideEvery: 0, keep: false, jobs: 2 } as const;

async function resultsOf(options: Partial<PoolOptions>): Promise<CaseResult[]> {
  const results: CaseResult[] = [];
  const onResult = (result: CaseResult) => results.push(result);
  await runCases({ ...common, work: root.directory(), cases: [], onResult, ...options });
  return results.sort((a, b) => a.number - b.number);
}

const upTo = (count: number) => Array.from({ length: count }, (_, number) => number);

test('150 broken and hostile inputs end in their work or in one line', async () => {
  await buildCorpus(corpus);
  const results = await resultsOf({ cases: upTo(150) });
  const summary = new Summary();
  for (const result of results) summary.add(result);
  assert.equal(results.length, 150);
  assert.ok(
    !summary.faulty,
    summary.text((number) => `npm run fuzz -- --seed 1 --case ${number}`),
  );
  assert.ok(results.filter(({ accepted }) => accepted).length > 15, 'some are still of use');
});

test('a case is the same, alone and among others', async () => {
  const lasting = ({ ms: _, growthBytes: __, ...result }: CaseResult) => result;
  const among = await resultsOf({ cases: upTo(12), jobs: 1 });
  const alone = await resultsOf({ cases: [11] });
  assert.deepEqual(alone.map(lasting), among.slice(-1).map(lasting));
});

/** A worker that does what is written for each case. */
function fakeWorker(...cases: readonly string[]): string {
  const file = join(root.directory(), 'worker.mjs');
  const done =
    "{ kind: 'done', result: { ...about, accepted: true, refusal: '', faults: [], ms: 1, growthBytes: 0 } }";
  writeFileSync(
    file,
    `process.on('message', async (number) => {
      const about = { number, route: 'gguf', input: 'none', changes: [] };
      process.send({ kind: 'begin', about });
      process.send({ kind: 'step', what: 'work' });
      await [${cases.map((body) => `async () => { ${body} }`).join(', ')}][number]();
      process.send(${done});
    });
    process.send({ kind: 'ready' });`,
  );
  return file;
}

test('hangs, deaths and gluts are counted, and the cases after them run', async () => {
  const worker = fakeWorker(
    '',
    'for (;;);',
    'await new Promise(() => setInterval(() => {}, 1000));',
    'process.abort();',
    'globalThis.kept = Buffer.alloc(96 * 2 ** 20, 1); for (;;);',
    'globalThis.kept = Buffer.alloc(300 * 2 ** 20, 1); for (;;);',
    '',
  );
  const limits = { hangMs: 500, growthBytes: 64 * 2 ** 20 };
  const results = await resultsOf({ worker, limits, cases: upTo(7), jobs: 1 });
  const hang = 'hang in work of gguf';
  const memory = process.platform === 'linux' ? ['memory of gguf'] : [];
  assert.deepEqual(
    results.map(({ faults }) => faults.map(({ kind }) => kind)),
    [
      [],
      [hang],
      [hang],
      ['death in work of gguf'],
      [hang, ...memory],
      memory.length ? memory : [hang],
      [],
    ],
  );
});

test('a mistake of the fuzzer itself is none of its cases', async () => {
  const worker = fakeWorker('process.stderr.write("oops\\n"); process.exit(70);');
  await assert.rejects(resultsOf({ worker, cases: [0] }), /the fuzzer itself failed:\noops/);
});
