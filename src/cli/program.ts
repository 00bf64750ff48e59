/** The commands, and their common settings. */

import { Command } from 'commander';
import { version } from '../version.ts';
import { commanderOutput } from './terminal.ts';

/** The commands, in the order of the help; each is loaded with all that it imports when it is needed. */
const commands = new Map<string, () => Promise<Command>>([
  ['pull', async () => (await import('./pull.ts')).pullCommand()],
  ['convert', async () => (await import('./convert.ts')).convertCommand()],
  ['predict-train', async () => (await import('./predict-train.ts')).predictTrainCommand()],
  ['generate', async () => (await import('./generate.ts')).generateCommand()],
  ['chat', async () => (await import('./chat.ts')).chatCommand()],
  ['serve', async () => (await import('./serve.ts')).serveCommand()],
  ['batch', async () => (await import('./batch.ts')).batchCommand()],
  ['eval', async () => (await import('./eval.ts')).evalCommand()],
  ['plan', async () => (await import('./plan.ts')).planCommand()],
  ['inspect', async () => (await import('./inspect.ts')).inspectCommand()],
  ['probe', async () => (await import('./probe.ts')).probeCommand()],
  ['bench', async () => (await import('./bench.ts')).benchCommand()],
  ['doctor', async () => (await import('./doctor.ts')).doctorCommand()],
  ['completion', async () => (await import('./completion.ts')).completionCommand()],
]);

/** The command that tells about all the others. */
const aboutAll = 'completion';

/** With one of these alone, the program prints its version. */
const versionFlags = new Set(['--version', '-V']);

/**
 * The program with its commands, ready to parse a command line.
 * @param args the command line, where the program needs no other command than it names; without it, the
 * program has all commands
 */
export async function createProgram(args?: readonly string[]): Promise<Command> {
  const program = new Command('flashllm')
    .description('Run language models larger than the memory they are given.')
    .version(version)
    .option('--debug', 'print stack traces')
    .configureHelp({ showGlobalOptions: true })
    .configureOutput(commanderOutput)
    .showHelpAfterError('Run with --help for usage.');
  const loaded = await Promise.all(neededBy(args).map((load) => load()));
  for (const command of loaded) program.addCommand(command.copyInheritedSettings(program));
  return program;
}

/** What must be loaded for a command line: one command, or all for help and for a suggestion. */
function neededBy(args: readonly string[] | undefined): readonly (() => Promise<Command>)[] {
  if (args?.length === 1 && versionFlags.has(args[0] ?? '')) return [];
  const name = args?.find((word) => word !== '--debug') ?? '';
  const named = commands.get(name);
  return named === undefined || name === aboutAll ? [...commands.values()] : [named];
}
