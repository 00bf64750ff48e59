/** The command line: registers the commands and turns errors into a line and an exit code. */

import { Command, CommanderError } from 'commander';
import { FlashError, InterruptedError } from '../errors.ts';
import { tooManyFiles } from '../open-files.ts';
import { version } from '../version.ts';
import { batchCommand } from './batch.ts';
import { benchCommand } from './bench.ts';
import { chatCommand } from './chat.ts';
import { convertCommand } from './convert.ts';
import { evalCommand } from './eval.ts';
import { generateCommand } from './generate.ts';
import { inspectCommand } from './inspect.ts';
import {
  catchInterrupts,
  interruptedExitCode,
  leaveInterrupted,
  wasInterrupted,
} from './interrupt.ts';
import { planCommand } from './plan.ts';
import { predictTrainCommand } from './predict-train.ts';
import { probeCommand } from './probe.ts';
import { pullCommand } from './pull.ts';
import { commanderOutput, note, noteError, noteLines, watchOutput } from './terminal.ts';

/** Runs the command in `argv` and sets the process's exit code. */
export async function main(argv: readonly string[]): Promise<void> {
  catchInterrupts();
  watchOutput();
  const program = new Command('flashllm')
    .description('Run language models larger than the memory they are given.')
    .version(version)
    .option('--debug', 'print stack traces')
    .configureHelp({ showGlobalOptions: true })
    .configureOutput(commanderOutput)
    .showHelpAfterError('Run with --help for usage.');
  for (const command of [
    pullCommand(),
    convertCommand(),
    predictTrainCommand(),
    generateCommand(),
    chatCommand(),
    batchCommand(),
    evalCommand(),
    planCommand(),
    inspectCommand(),
    probeCommand(),
    benchCommand(),
  ]) {
    program.addCommand(command.copyInheritedSettings(program));
  }
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
