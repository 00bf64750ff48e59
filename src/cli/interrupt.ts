/**
 * Ctrl-C and SIGTERM: the first asks the command to end cleanly, the second ends the process. The
 * exit code is what a shell makes of the signal. On Windows, where no process receives SIGTERM, Ctrl-Break
 * and the closing of the console do the same; it leaves a closed console 10 seconds.
 */

import { yieldToEventLoop } from '../yield-to-event-loop.ts';
import { written } from './terminal.ts';

const controller = new AbortController();
const exitCodes = { SIGINT: 130, SIGTERM: 143, SIGBREAK: 130, SIGHUP: 129 } as const;
type StopSignal = keyof typeof exitCodes;
/** Elsewhere SIGHUP is left alone: `nohup` has it ignored, and it may end what nobody looks at. */
const stopSignals = (platform: NodeJS.Platform): readonly StopSignal[] =>
  platform === 'win32' ? ['SIGINT', 'SIGBREAK', 'SIGHUP'] : ['SIGINT', 'SIGTERM'];
/** What does not end by itself within this long is ended. */
let graceMs = 4000;
/** A terminal and a parent process may both pass on the same Ctrl-C. */
const echoMs = 100;

let received: StopSignal | null = null;
/** What the next Ctrl-C ends in place of the command, and when that was done last. */
let answering: AbortController | null = null;
let answerEnded = Number.NEGATIVE_INFINITY;

/** What an interrupted command ends with. */
export function interruptedExitCode(): number {
  return exitCodes[received ?? 'SIGINT'];
}

/** Makes the signals that stop a command abort {@link interruption}. */
export function catchInterrupts(platform: NodeJS.Platform = process.platform): void {
  let first = 0;
  const stop = (signal: StopSignal) => {
    if (signal === 'SIGINT' && received === null) {
      if (performance.now() - answerEnded < echoMs) return;
      if (answering !== null) {
        answering.abort();
        answering = null;
        answerEnded = performance.now();
        return;
      }
    }
    if (received !== null) {
      if (signal === received && performance.now() - first < echoMs) return;
      process.exit(interruptedExitCode());
    }
    received = signal;
    first = performance.now();
    controller.abort();
    setTimeout(() => process.exit(interruptedExitCode()), graceMs).unref();
  };
  for (const signal of stopSignals(platform)) process.on(signal, stop);
}

/** Gives the command more time to end by itself, in milliseconds, as it has promised others to answer. */
export function extendGrace(milliseconds: number): void {
  graceMs = milliseconds;
}

/** Aborts when the user wants to stop. */
export const interruption: AbortSignal = controller.signal;

/** Runs work that the first Ctrl-C ends alone; the second, and SIGTERM, end the command as usual. */
export async function answeringInterrupts<T>(
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const own = new AbortController();
  answering = own;
  try {
    return await work(AbortSignal.any([own.signal, interruption]));
  } finally {
    answering = null;
  }
}

/**
 * Ends an interrupted process as soon as its output is written. While Node takes a process apart that
 * comes to its end by itself, signals are no longer caught: one more would take the exit code's place.
 */
export async function leaveInterrupted(): Promise<void> {
  if (!interruption.aborted) return;
  await written();
  process.exit();
}

/** Whether the user wants to stop; a signal that came during a long computation is heard first. */
export async function wasInterrupted(): Promise<boolean> {
  // The turn that is on may have asked the system for its events before.
  await yieldToEventLoop();
  await yieldToEventLoop();
  return interruption.aborted;
}
