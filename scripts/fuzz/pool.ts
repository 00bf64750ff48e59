/**
 * Runs cases in worker processes: a case that hangs, dies or takes all memory ends its worker and is
 * counted; the others go on in a new one.
 */

import { type ChildProcess, fork } from 'node:child_process';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Route } from './corpus.ts';
import { cpuMsOf, residentOf } from './processes.ts';
import {
  type CaseAbout,
  type CaseResult,
  type Fault,
  hangMs,
  mostGrowthBytes,
  type WorkerMessage,
} from './result.ts';

/** What a worker is told when it starts. */
export interface WorkerOptions {
  readonly seed: number;
  readonly corpus: string;
  /** A directory of its own. */
  readonly work: string;
  readonly routes: readonly Route[];
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
  /** What workers run; tests put others in its place. */
  readonly worker?: string;
}

const workerFile = fileURLToPath(new URL('worker.ts', import.meta.url));
/** Cases of one worker: what one leaves in its process does not last. */
const casesPerWorker = 400;
/** A worker that runs processes of its own watches over them itself. */
const outsideMs = 30_000;
const watchMs = 50;

/** Runs all cases, each once; those that hang once more, alone, since a busy machine may be to blame. */
export async function runCases(options: PoolOptions): Promise<void> {
  const suspects: number[] = [];
  const onResult = (result: CaseResult) => {
    if (result.faults.some(({ kind }) => kind.startsWith(hangKind))) suspects.push(result.number);
    else options.onResult(result);
  };
  const queue = [...options.cases];
  const lanes = Array.from({ length: Math.min(options.jobs, queue.length) }, (_, lane) =>
    new Lane({ ...options, onResult }, queue, lane).run(),
  );
  await Promise.all(lanes);
  suspects.sort((a, b) => a - b);
  await new Lane(options, suspects, lanes.length).run();
}

const hangKind = 'hang in ';

/** A worker after the other, for as long as there are cases. */
class Lane {
  readonly #options: PoolOptions;
  readonly #queue: number[];
  readonly #work: string;

  constructor(options: PoolOptions, queue: number[], lane: number) {
    this.#options = options;
    this.#queue = queue;
    this.#work = join(options.work, `worker-${lane}`);
  }

  async run(): Promise<void> {
    while (this.#queue.length > 0) await this.#oneWorker();
  }

  #oneWorker(): Promise<void> {
    const { seed, corpus, routes, outsideEvery, keep, worker = workerFile } = this.#options;
    const told: WorkerOptions = { seed, corpus, work: this.#work, routes, outsideEvery, keep };
    const child = fork(worker, [JSON.stringify(told)], {
      execArgv: ['--import', 'tsx', '--expose-gc'],
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    });
    return new Promise((resolve, reject) => {
      const watch = new Watch(child, outsideEvery);
      let stderr = '';
      let left = casesPerWorker;
      child.stderr?.setEncoding('utf8').on('data', (part: string) => {
        stderr = (stderr + part).slice(-4_000);
      });
      const next = () => {
        const number = left-- > 0 ? this.#queue.shift() : undefined;
        if (number === undefined) child.kill('SIGKILL');
        else watch.start(number, () => child.send(number));
      };
      child.on('message', (message: WorkerMessage) => {
        if (message.kind === 'step') watch.step(message.what);
        else if (message.kind === 'begin') watch.begin(message.about);
        else {
          if (message.kind === 'done') this.#options.onResult(watch.finish(message.result));
          next();
        }
      });
      child.on('error', reject);
      child.on('close', (code, signal) => {
        const ended = watch.close();
        if (code === 70) reject(new Error(`the fuzzer itself failed:\n${stderr}`));
        else {
          if (ended !== null)
            this.#options.onResult(ended(`${signal ?? `exit code ${code}`}`, stderr));
          else if (code !== null) reject(new Error(`a worker did not start:\n${stderr}`));
          if (!keep) rmSync(this.#work, { recursive: true, force: true });
          resolve();
        }
      });
    });
  }
}

/** Watches one worker: its silence, and its memory. */
class Watch {
  readonly #child: ChildProcess;
  readonly #outsideEvery: number;
  readonly #timer: NodeJS.Timeout;
  #about: CaseAbout | null = null;
  #step = '';
  #silence = new Silence(0);
  #started = 0;
  #before = 0;
  #peak = 0;
  #why: string | null = null;

  constructor(child: ChildProcess, outsideEvery: number) {
    this.#child = child;
    this.#outsideEvery = outsideEvery;
    this.#timer = setInterval(() => this.#look(), watchMs);
  }

  start(number: number, send: () => void): void {
    this.#about = { number, route: 'checkpoint', input: 'unknown', changes: [] };
    this.#started = performance.now();
    this.#before = residentOf(this.#child.pid ?? 0);
    this.#peak = this.#before;
    this.step('preparation');
    send();
  }

  begin(about: CaseAbout): void {
    this.#about = about;
  }

  step(what: string): void {
    this.#step = what;
    this.#silence = new Silence(this.#child.pid ?? 0);
  }

  /** The result of the case, with the memory that was seen from outside. */
  finish(result: CaseResult): CaseResult {
    this.#about = null;
    return { ...result, growthBytes: Math.max(result.growthBytes, this.#peak - this.#before) };
  }

  /** Ends watching; what makes a result of the case that was under way, or null. */
  close(): ((end: string, stderr: string) => CaseResult) | null {
    clearInterval(this.#timer);
    const about = this.#about;
    if (about === null) return null;
    const growthBytes = this.#peak - this.#before;
    const ms = performance.now() - this.#started;
    return (end, stderr) => {
      const kind = this.#why ?? `death in ${this.#step} of ${about.route}`;
      const faults: Fault[] = [{ kind, detail: `${end}\n${stderr}` }];
      if (growthBytes > mostGrowthBytes && !kind.startsWith(memoryKind)) {
        faults.push(this.#memoryFault(growthBytes));
      }
      return { ...about, accepted: false, faults, ms, growthBytes };
    };
  }

  #look(): void {
    const about = this.#about;
    if (about === null || this.#why !== null) return;
    this.#peak = Math.max(this.#peak, residentOf(this.#child.pid ?? 0));
    const outside =
      this.#outsideEvery > 0 && about.number % this.#outsideEvery === this.#outsideEvery - 1;
    if (this.#silence.exceeds(outside ? outsideMs : hangMs)) {
      this.#stop(`${hangKind}${this.#step} of ${about.route}`);
    } else if (this.#peak - this.#before > 4 * mostGrowthBytes) {
      this.#stop(this.#memoryFault(this.#peak - this.#before).kind);
    }
  }

  #stop(why: string): void {
    this.#why = why;
    this.#child.kill('SIGKILL');
  }

  #memoryFault(growthBytes: number): Fault {
    const route = this.#about?.route ?? '';
    return {
      kind: `${memoryKind}${route}`,
      detail: `${Math.round(growthBytes / 2 ** 20)} MiB more than before`,
    };
  }
}

const memoryKind = 'memory of ';

/** No process that has work gets less than a fiftieth of a core, on a machine that is any use. */
const leastShare = 0.02;
const shareMs = 2_000;

/**
 * How long a worker has said nothing. A busy machine may be to blame for that, so it counts where the
 * worker has computed all that time, or has not computed at all.
 */
class Silence {
  readonly #pid: number;
  readonly #since = performance.now();
  readonly #cpuMs: number | null;
  #look: { readonly at: number; readonly cpuMs: number };
  #idle = false;

  constructor(pid: number) {
    this.#pid = pid;
    this.#cpuMs = cpuMsOf(pid);
    this.#look = { at: this.#since, cpuMs: this.#cpuMs ?? 0 };
  }

  exceeds(ms: number): boolean {
    const now = performance.now();
    const cpuMs = cpuMsOf(this.#pid);
    if (cpuMs === null || this.#cpuMs === null) return now - this.#since > ms;
    if (now - this.#look.at > shareMs) {
      this.#idle = cpuMs - this.#look.cpuMs < leastShare * (now - this.#look.at);
      this.#look = { at: now, cpuMs };
    }
    return now - this.#since > ms && (this.#idle || cpuMs - this.#cpuMs > ms);
  }
}
