/**
 * The code of a compute thread, including the calling one: it takes shares of the job and computes them until
 * none is left. Jobs pass through a control block in shared memory:
 *
 *     words   ticket    job number << 8 | shares that no thread has taken
 *             pending   shares that are not finished
 *             ...
 *     job     the kernel, how it is split, its arguments, and by how much each grows per unit
 *     results what the kernel returned for each share
 *     text    the message of the first error
 *
 * A share is taken by lowering the ticket by one with a compare-exchange. That succeeds only while the job of
 * that ticket is still open, and the job stays unchanged until all its shares are finished: a thread that
 * wakes up late thus never computes with a mixture of two jobs' arguments. The caller never waits for a
 * thread that has taken no share, whether it sleeps, lost its core to another process, or is dead. Fast
 * threads take more shares than slow ones.
 *
 * The functions here are sent to the workers as text (Function.toString), because a worker that loads no file
 * works the same from compiled code and from sources. They may use only their parameters and the built-ins of
 * every JavaScript engine.
 */

import type { KernelFunction } from '../bind.ts';

/** Indices into the control block, and its fixed sizes. */
export const layout = {
  // words: 128 bytes apart where different threads write, as processors fetch cache lines in pairs.
  ticket: 0,
  pending: 32,
  sleepers: 64,
  callerAsleep: 65,
  mail: 66,
  failed: 96,
  textLength: 97,
  // job
  kernel: 0,
  shares: 1,
  total: 2,
  step: 3,
  begin: 4,
  end: 5,
  scratch: 6,
  scratchAddress: 7,
  scratchStride: 8,
  values: 16,
  strides: 40,
  // sizes
  wordCount: 128,
  jobCount: 64,
  /** The number of arguments that `drain` passes on. */
  parameters: 24,
  maxShares: 255,
  maxText: 500,
  /**
   * How long a worker spins for a job before it sleeps, and a caller for the end of one: longer than the time
   * between two kernels of a layer, shorter than a read of flash.
   */
  spinMs: 0.1,
} as const;

export interface Control {
  readonly at: typeof layout;
  readonly words: Int32Array;
  readonly job: Float64Array;
  readonly results: Float64Array;
  readonly text: Uint16Array;
}

/** The data that a worker is started with. */
export interface WorkerStart {
  readonly control: Control;
  /** At least 1; 0 is the calling thread. */
  readonly thread: number;
}

/** Mail that workers get later: kernels over another memory, or null to end them. */
export type Mail = {
  readonly module: WebAssembly.Module;
  readonly memory: WebAssembly.Memory;
  /** Names of exports, which get the next kernel numbers in this order. */
  readonly names: readonly string[];
} | null;

/** A worker's answer after its start and to each mail: an error message, or null. */
export type Answer = string | null;

/**
 * Computes shares until none is left to take.
 * @param values `parameters` numbers of this thread, which are overwritten
 */
export function drain(
  control: Control,
  functions: readonly KernelFunction[],
  thread: number,
  values: Float64Array,
): void {
  const { at, words, job, results, text } = control;
  for (;;) {
    const ticket = Atomics.load(words, at.ticket);
    const left = ticket & 255;
    if (left === 0) return;
    if (Atomics.compareExchange(words, at.ticket, ticket, ticket - 1) !== ticket) continue;
    const share = job[at.shares]! - left;
    const step = job[at.step]!;
    const first = share * step;
    const count = Math.min(step, job[at.total]! - first);
    for (let i = 0; i < at.parameters; i++) {
      values[i] = job[at.values + i]! + first * job[at.strides + i]!;
    }
    const begin = job[at.begin]!;
    values[job[at.end]!] = begin < 0 ? count : values[begin]! + count;
    const scratch = job[at.scratch]!;
    if (scratch >= 0 && thread > 0) {
      values[scratch] = job[at.scratchAddress]! + (thread - 1) * job[at.scratchStride]!;
    }
    try {
      const kernel = functions[job[at.kernel]!]!;
      // Written out, as spreading would allocate memory. A kernel ignores surplus arguments.
      const result = kernel(
        values[0]!,
        values[1]!,
        values[2]!,
        values[3]!,
        values[4]!,
        values[5]!,
        values[6]!,
        values[7]!,
        values[8]!,
        values[9]!,
        values[10]!,
        values[11]!,
        values[12]!,
        values[13]!,
        values[14]!,
        values[15]!,
        values[16]!,
        values[17]!,
        values[18]!,
        values[19]!,
        values[20]!,
        values[21]!,
        values[22]!,
        values[23]!,
      );
      if (result !== undefined) results[share] = result;
    } catch (error) {
      if (Atomics.compareExchange(words, at.failed, 0, 1) === 0) {
        const message = String(error).slice(0, at.maxText);
        for (let i = 0; i < message.length; i++) text[i] = message.charCodeAt(i);
        words[at.textLength] = message.length;
      }
    }
    if (Atomics.sub(words, at.pending, 1) === 1 && Atomics.load(words, at.callerAsleep) === 1) {
      Atomics.notify(words, at.pending);
    }
  }
}

/** Spins until words[index] is not `value`, for at most `spinMs`; returns its last value. */
export function spin(control: Control, index: number, value: number): number {
  const { at, words } = control;
  let seen = Atomics.load(words, index);
  if (seen !== value) return seen;
  const until = performance.now() + at.spinMs;
  do {
    for (let i = 0; i < 100; i++) {
      seen = Atomics.load(words, index);
      if (seen !== value) return seen;
    }
  } while (performance.now() < until);
  return seen;
}

interface Port {
  postMessage(answer: Answer): void;
}

/** A worker's main loop. It returns to its event loop only at its end, so it has to poll for mail. */
export function serve(
  { control, thread }: WorkerStart,
  port: Port,
  receive: (port: Port) => { message: Mail },
  run: typeof drain,
  look: typeof spin,
): void {
  const { at, words } = control;
  const values = new Float64Array(at.parameters);
  const functions: KernelFunction[] = [];
  let read = 0;
  port.postMessage(null);
  for (;;) {
    run(control, functions, thread, values);
    const ticket = Atomics.load(words, at.ticket);
    if (Atomics.load(words, at.mail) !== read) {
      read++;
      const mail = receive(port).message;
      if (mail === null) return;
      try {
        const env = { memory: mail.memory };
        const { exports } = new WebAssembly.Instance(mail.module, { env });
        for (const name of mail.names) functions.push(exports[name] as KernelFunction);
        port.postMessage(null);
      } catch (error) {
        port.postMessage(String(error));
      }
    } else if ((ticket & 255) === 0 && look(control, at.ticket, ticket) === ticket) {
      Atomics.add(words, at.sleepers, 1);
      Atomics.wait(words, at.ticket, ticket);
      Atomics.sub(words, at.sleepers, 1);
    }
  }
}
