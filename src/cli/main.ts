/** The command line: runs a command, and turns an error into a message and an exit code. */

import { CommanderError } from 'commander';
import { FlashError, InterruptedError } from '../errors.ts';
import { tooManyFiles } from '../open-files.ts';
import {
  catchInterrupts,
  interruptedExitCode,
  leaveInterrupted,
  wasInterrupted,
} from './interrupt.ts';
import { createProgram } from './program.ts';
import { note, noteError, noteLines, watchOutput } from './terminal.ts';

/** Runs the command in `argv` and sets the process's exit code. */
export async function main(argv: readonly string[]): Promise<void> {
  catchInterrupts();
  watchOutput();
  const program = await createProgram(argv.slice(2));
  program.exitOverride();
  for (const command of program.commands) command.exitOverride();
  try {
    await program.parseAsync(argv);
  } catch (error) {
    const stopped = !(error instanceof CommanderError) && (await wasInterrupted());
    process.exitCode = report(
      stopped ? new InterruptedError() : (tooManyFiles(error) ?? error),
      argv.includes('--debug'),
    );
  }
  await leaveInterrupted();
}

/** Prints what went wrong and returns the exit code. */
function report(error: unknown, debug: boolean): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2; // commander has printed
  if (error instanceof InterruptedError) {
    note('interrupted');
    return interruptedExitCode();
  }
  if (debug && error instanceof Error) noteLines(error.stack ?? error.message);
  if (error instanceof FlashError) {
    noteError(error.line);
    return error.exitCode;
  }
  noteError(error instanceof Error ? error.message : String(error));
  note('This is a bug in flashllm; run again with --debug for a stack trace.');
  return 1;
}
