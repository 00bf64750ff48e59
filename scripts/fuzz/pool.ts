/**
 * Runs cases in worker processes: a case that hangs, dies or takes all memory ends its worker and is
 * counted; the others go on in a new one.
 */

import { fork } from 'node:child_process';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Route } from './corpus.ts';
import type { CaseResult, WorkerMessage } from './result.ts';
import { hangs, type Limits, usualLimits, Watch } from './watch.ts';

/** What a worker is told when it starts. */
export interface WorkerOptions {
  readonly seed: number;
  readonly corpus: string;
  /** A directory of its own. */
  readonly work: string;
  readonly routes: readonly Route[];
  /** Every so many cases run the commands as processes of their own; 0: none. */
  readonly outsideEvery: number;
  /** Leave the last case's files there. */
  readonly keep: boolean;
}

export interface PoolOptions extends Omit<WorkerOptions, 'work'> {
  readonly cases: readonly number[];
  readonly jobs: number;
  /** Directory for the workers. */
  readonly work: string;
  readonly onResult: (result: CaseResult) => void;
  readonly limits?: Limits;
  /** What workers run; tests put others in its place. */
  readonly worker?: string;
}

const workerFile = fileURLToPath(new URL('worker.ts', import.meta.url));
/** Cases of one worker: what one leaves in its process does not last. */
const casesPerWorker = 400;
/** What a worker exits with where the fuzzer itself is at fault. */
export const mistakeCode = 70;

/** Whether the commands of a case run as processes of their own. */
export function isOutside(number: number, outsideEvery: number): boolean {
  return outsideEvery > 0 && number % outsideEvery === outsideEvery - 1;
}

/** Runs all cases, each once; those that hang once more, alone, since what runs beside may be to blame. */
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

/** A worker after the other, for as long as there are cases in `queue`. */
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
      else if (code !== null) reject(new Error(`a worker ended, and was not told to:\n${stderr}`));
      resolve();
    });
  });
}
