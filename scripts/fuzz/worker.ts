/** A process that runs cases as they arrive and reports its progress: its parent watches it and may end it. */

import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { uncaught } from './judge.ts';
import { Corpus, runCase, sweepCase } from './one-case.ts';
import { mistakeCode, type WorkerOptions } from './pool.ts';
import type { CaseAbout, Fault, WorkerMessage } from './result.ts';

const { corpus, work, ...options } = JSON.parse(process.argv[2] ?? '{}') as WorkerOptions;
const inputs = new Corpus(corpus);
const dir = join(work, 'case');
mkdirSync(work, { recursive: true });
process.env.FLASHLLM_CACHE = join(work, 'cache');
process.env.NO_COLOR = '1';

const say = (message: WorkerMessage) => process.send?.(message);

/** Failures of promises that nobody awaited. */
const strays: Fault[] = [];
process.on('uncaughtException', (error) => strays.push(uncaught(error)));
process.on('unhandledRejection', (error) => strays.push(uncaught(error)));

process.on('message', (number: number) => {
  runNext(number).catch((error: unknown) => {
    process.stderr.write(
      `case ${number}: ${error instanceof Error ? error.stack : String(error)}\n`,
    );
    process.exit(mistakeCode);
  });
});
process.on('disconnect', () => process.exit(0));

async function runNext(number: number): Promise<void> {
  let about: CaseAbout | null = null;
  sweepCase(dir);
  const result = await runCase(inputs, number, {
    ...options,
    dir,
    onBegin(begun) {
      about = begun;
      say({ kind: 'begin', about });
    },
    onStep: (what) => say({ kind: 'step', what }),
  });
  strays.push(...(await pending()));
  if (!options.keep) sweepCase(dir);
  const faults = [...result.faults, ...strays.splice(0)];
  say({ kind: 'done', result: { ...result, faults } });
}

/**
 * Reads and opens that continue although the commands are done: in a process of its own they would keep the
 * process from ending. Other late failures are noted meanwhile.
 */
async function pending(): Promise<Fault[]> {
  const isFile = (name: string) => name.startsWith('FSReq');
  for (let waitedMs = 0; waitedMs < 200; waitedMs += 10) {
    await new Promise((resolve) => setTimeout(resolve, waitedMs && 10));
    if (!process.getActiveResourcesInfo().some(isFile)) return [];
  }
  return [{ kind: 'file operations never end', detail: process.getActiveResourcesInfo().join() }];
}

say({ kind: 'ready' });
