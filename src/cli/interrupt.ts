/** Ctrl-C: the first asks the command to end cleanly, the second ends the process. */

const controller = new AbortController();
export const interruptedExitCode = 130;
/** What does not end by itself within this long is ended. */
const graceMs = 10_000;

/** Makes SIGINT and SIGTERM abort {@link interruption}. */
export function catchInterrupts(): void {
  const stop = () => {
    if (controller.signal.aborted) process.exit(interruptedExitCode);
    controller.abort();
    setTimeout(() => process.exit(interruptedExitCode), graceMs).unref();
  };
  process.on('SIGINT', stop);
  process.on('SIGTERM', stop);
}

/** Aborts when the user wants to stop. */
export const interruption: AbortSignal = controller.signal;
