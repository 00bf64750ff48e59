import { Argument, Command } from 'commander';
import { completionScript, type Shell, shells } from './outline/completion-scripts.ts';
import { outlineOf } from './outline/outline.ts';
import { print } from './terminal.ts';

export function completionCommand(): Command {
  const command = new Command('completion')
    .description('print the completion script of a shell')
    .addArgument(new Argument('<shell>', 'bash, zsh or fish').choices(shells))
    .action((shell: Shell) => {
      const program = command.parent ?? command;
      print(completionScript(shell, outlineOf(program)));
    });
  return command;
}
