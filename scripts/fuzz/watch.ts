/** Watches a worker from outside: its silence and its memory, also of a case that never ends. */

import type { ChildProcess } from 'node:child_process';
import { residentOf, Silence } from './processes.ts';
import { type CaseAbout, type CaseResult, type Fault, hangMs, mostGrowthBytes } from './result.ts';

export interface Limits {
  /** Longest silence of one command, in milliseconds. */
  readonly hangMs: number;
  /** Most resident memory that a case may add; at four times as much the worker is ended. */
  readonly growthBytes: number;
}

export const usualLimits: Limits = { hangMs, growthBytes: mostGrowthBytes };

/** A worker that waits for its own child processes is silent, and watches them itself. */
const outsideMs = 120_000;
const watchMs = 50;

const hangKind = 'hang in ';
const memoryKind = 'memory of ';

/** Whether a case was ended because of its silence. */
export const hangs = ({ faults }: CaseResult) =>
  faults.some(({ kind }) => kind.startsWith(hangKind));

export class Watch {
  readonly #child: ChildProcess;
  readonly #limits: Limits;
  readonly #timer: NodeJS.Timeout;
  #about: CaseAbout | null = null;
  #hangMs = 0;
  #step = '';
  #silence = new Silence(0);
  #started = 0;
  #before = 0;
  #peak = 0;
  /** Why the worker was ended, or null. */
  #why: string | null = null;

  constructor(child: ChildProcess, limits: Limits) {
    this.#child = child;
    this.#limits = limits;
    this.#timer = setInterval(() => this.#look(), watchMs);
  }

  /**
   * A case begins.
   * @param outside whether its commands are processes of their own
   */
  start(number: number, outside: boolean): void {
    this.#about = { number, route: 'checkpoint', input: 'unknown', changes: [] };
    this.#hangMs = outside ? outsideMs : this.#limits.hangMs;
    this.#started = performance.now();
    this.#before = residentOf(this.#child.pid ?? 0);
    this.#peak = this.#before;
    this.step('preparation');
  }

  /** The description of the case has arrived. */
  begin(about: CaseAbout): void {
    this.#about = about;
  }

  /** A command begins. */
  step(what: string): void {
    this.#step = what;
    this.#silence = new Silence(this.#child.pid ?? 0);
  }

  /** The result of the case, with the memory that was measured from outside. */
  finish(result: CaseResult): CaseResult {
    this.#about = null;
    return { ...result, growthBytes: Math.max(result.growthBytes, this.#peak - this.#before) };
  }

  /**
   * Ends watching, when the worker has ended.
   * @returns the result of the case that was running, or null if none was
   */
  close(end: string): CaseResult | null {
    clearInterval(this.#timer);
    const about = this.#about;
    if (about === null) return null;
    const growthBytes = this.#peak - this.#before;
    const kind = this.#why ?? `death in ${this.#step} of ${about.route}`;
    const faults: Fault[] = [{ kind, detail: end }];
    if (growthBytes > this.#limits.growthBytes && !kind.startsWith(memoryKind)) {
      const detail = `${Math.round(growthBytes / 2 ** 20)} MiB more than before`;
      faults.push({ kind: `${memoryKind}${about.route}`, detail });
    }
    const ms = performance.now() - this.#started;
    return { ...about, accepted: false, refusal: '', faults, ms, growthBytes };
  }

  #look(): void {
    const about = this.#about;
    if (about === null || this.#why !== null) return;
    this.#peak = Math.max(this.#peak, residentOf(this.#child.pid ?? 0));
    if (this.#silence.exceeds(this.#hangMs)) {
      this.#stop(`${hangKind}${this.#step} of ${about.route}`);
    } else if (this.#peak - this.#before > 4 * this.#limits.growthBytes) {
      this.#stop(`${memoryKind}${about.route}`);
    }
  }

  #stop(why: string): void {
    this.#why = why;
    this.#child.kill('SIGKILL');
  }
}
