/** The commands, and their common settings. */

import { Command } from 'commander';
import { version } from '../version.ts';
import { batchCommand } from './batch.ts';
import { benchCommand } from './bench.ts';
import { chatCommand } from './chat.ts';
import { completionCommand } from './completion.ts';
import { convertCommand } from './convert.ts';
import { doctorCommand } from './doctor.ts';
import { evalCommand } from './eval.ts';
import { generateCommand } from './generate.ts';
import { inspectCommand } from './inspect.ts';
import { planCommand } from './plan.ts';
import { predictTrainCommand } from './predict-train.ts';
import { probeCommand } from './probe.ts';
import { pullCommand } from './pull.ts';
import { serveCommand } from './serve.ts';
import { commanderOutput } from './terminal.ts';

/** The program with all its commands, ready to parse a command line. */
export function createProgram(): Command {
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
    serveCommand(),
    batchCommand(),
    evalCommand(),
    planCommand(),
    inspectCommand(),
    probeCommand(),
    benchCommand(),
    doctorCommand(),
    completionCommand(),
  ]) {
    program.addCommand(command.copyInheritedSettings(program));
  }
  return program;
}
