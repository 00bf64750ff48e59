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
/**
 * On other systems SIGHUP keeps its usual effect: `nohup` ignores it, and a closed terminal ends the
 * process.
 */
const stopSignals = (platform: NodeJS.Platform): readonly StopSignal[] =>
  platform === 'win32' ? ['SIGINT', 'SIGBREAK', 'SIGHUP'] : ['SIGINT', 'SIGTERM'];
/** A command that does not end by itself within this time is ended. */
let graceMs = 4000;
/** A terminal and a parent process may both pass on the same Ctrl-C. */
const echoMs = 100;

let received: StopSignal | null = null;
/** The answer that the next Ctrl-C ends instead of the command, and when an answer was last ended so. */
let answering: AbortController | null = null;
let answerEnded = Number.NEGATIVE_INFINITY;

/** The exit code of an interrupted command. */
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

/** Gives the command more time to end by itself, in milliseconds: it may still owe answers to clients. */
export function extendGrace(milliseconds: number): void {
  graceMs = milliseconds;
}

/** Aborts when the user wants to stop. */
export const interruption: AbortSignal = controller.signal;

/**
 * Runs work that the first Ctrl-C ends without ending the command; a second one, or SIGTERM, ends the
 * command.
 */
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
 * Ends an interrupted process as soon as its output is written. When a process ends by itself, Node stops
 * catching signals before it has exited: one more signal would then replace the exit code.
 */
export async function leaveInterrupted(): Promise<void> {
  if (!interruption.aborted) return;
  await written();
  process.exit();
}

/** Whether the user wants to stop; signals that came during a long computation are handled first. */
export async function wasInterrupted(): Promise<boolean> {
  // The current turn of the event loop may have polled the system before the signal came.
  await yieldToEventLoop();
  await yieldToEventLoop();
  return interruption.aborted;
}
