/**
 * Runs cases in worker processes: a case that hangs, dies or takes all memory ends its worker and is
 * counted; the other cases continue in a new worker.
 */

import { fork } from 'node:child_process';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Route } from './corpus.ts';
import type { CaseResult, WorkerMessage } from './result.ts';
import { hangs, type Limits, usualLimits, Watch } from './watch.ts';

/** The settings that a worker gets when it starts. */
export interface WorkerOptions {
  readonly seed: number;
  readonly corpus: string;
  /** A directory of its own. */
  readonly work: string;
  readonly routes: readonly Route[];
  /** Every n-th case runs its commands as processes of their own; 0: none. */
  readonly outsideEvery: number;
  /** Keep the last case's files. */
  readonly keep: boolean;
}

export interface PoolOptions extends Omit<WorkerOptions, 'work'> {
  readonly cases: readonly number[];
  readonly jobs: number;
  /** Directory for the workers. */
  readonly work: string;
  readonly onResult: (result: CaseResult) => void;
  readonly limits?: Limits;
  /** The program that workers run; tests replace it. */
  readonly worker?: string;
}

const workerFile = fileURLToPath(new URL('worker.ts', import.meta.url));
/** Cases per worker, so that what cases leave behind in the process does not accumulate. */
const casesPerWorker = 400;
/** The exit code of a worker if the fuzzer itself is at fault. */
export const mistakeCode = 70;

/** Whether the commands of a case run as processes of their own. */
export function isOutside(number: number, outsideEvery: number): boolean {
  return outsideEvery > 0 && number % outsideEvery === outsideEvery - 1;
}

/** Runs all cases once; runs those that hang once more, alone, since parallel cases may be the cause. */
export async function runCases(options: PoolOptions): Promise<void> {
  const suspects: number[] = [];
  const onResult = (result: CaseResult) => {
    if (hangs(result)) suspects.push(result.number);
    else options.onResult(result);
  };
  const queue = [...options.cases];
  const lanes = Array.from({ length: Math.min(options.jobs, queue.length) }, (_, lane) =>
    runLane({ ...options, onResult }, queue, lane),
  );
  await Promise.all(lanes);
  suspects.sort((a, b) => a - b);
  await runLane(options, suspects, lanes.length);
}

/** Runs one worker after the other as long as there are cases in `queue`. */
async function runLane(options: PoolOptions, queue: number[], lane: number): Promise<void> {
  const work = join(options.work, `worker-${lane}`);
  while (queue.length > 0) await runWorker({ ...options, work }, queue);
  if (!options.keep) rmSync(work, { recursive: true, force: true });
}

/** One worker, until it has run its share of `queue`, or a case has ended it. */
function runWorker(options: PoolOptions, queue: number[]): Promise<void> {
  const { seed, corpus, work, routes, outsideEvery, keep } = options;
  const { worker = workerFile, limits = usualLimits, onResult } = options;
  const told: WorkerOptions = { seed, corpus, work, routes, outsideEvery, keep };
  const child = fork(worker, [JSON.stringify(told)], {
    execArgv: ['--import', 'tsx'],
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  });
  const watch = new Watch(child, limits);
  let stderr = '';
  child.stderr?.setEncoding('utf8').on('data', (part: string) => {
    stderr = (stderr + part).slice(-4_000);
  });
  let left = casesPerWorker;
  const next = () => {
    const number = left-- > 0 ? queue.shift() : undefined;
    if (number === undefined) {
      child.kill('SIGKILL'); // a file that is still being opened would keep it from ending
      return;
    }
    watch.start(number, isOutside(number, outsideEvery));
    child.send(number);
  };
  child.on('message', (message: WorkerMessage) => {
    if (message.kind === 'step') watch.step(message.what);
    else if (message.kind === 'begin') watch.begin(message.about);
    else {
      if (message.kind === 'done') onResult(watch.finish(message.result));
      next();
    }
  });
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code, signal) => {
      const cut = watch.close(`${signal ?? `exit code ${code}`}\n${stderr}`);
      if (code === mistakeCode) reject(new Error(`the fuzzer itself failed:\n${stderr}`));
      else if (cut !== null) onResult(cut);
      else if (code !== null) reject(new Error(`a worker ended unexpectedly:\n${stderr}`));
      resolve();
    });
  });
}
