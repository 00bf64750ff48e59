/** The command line as data, read from the commands themselves, for help, completion and manual. */

import type { Command } from 'commander';

export interface OptionOutline {
  /** As typed on the command line: `--dram-budget`. */
  readonly long: string;
  readonly short: string | null;
  /** The names with the value: `--dram-budget <size>`. */
  readonly flags: string;
  readonly takesValue: boolean;
  readonly choices: readonly string[];
  /** The default as JSON, or its description; null if there is none. */
  readonly defaultText: string | null;
  readonly description: string;
}

export interface ArgumentOutline {
  /** As usage shows it: `<model>`, `[dir]`, `<file...>`. */
  readonly usage: string;
  readonly choices: readonly string[];
  readonly description: string;
}

export interface CommandOutline {
  readonly name: string;
  readonly description: string;
  readonly arguments: readonly ArgumentOutline[];
  readonly options: readonly OptionOutline[];
}

export interface ProgramOutline extends CommandOutline {
  readonly version: string;
  readonly commands: readonly CommandOutline[];
}

/** @param program with its commands */
export function outlineOf(program: Command): ProgramOutline {
  return {
    ...commandOutline(program),
    version: program.version() ?? '',
    commands: program.commands.map(commandOutline),
  };
}

function commandOutline(command: Command): CommandOutline {
  return {
    name: command.name(),
    description: command.description(),
    arguments: command.registeredArguments.map((argument) => ({
      usage: usageOf(argument.name(), argument.required, argument.variadic),
      choices: argument.argChoices ?? [],
      description: argument.description,
    })),
    options: command
      .createHelp()
      .visibleOptions(command)
      .map((option) => ({
        long: option.long ?? option.flags,
        short: option.short ?? null,
        flags: option.flags,
        takesValue: option.required || option.optional,
        choices: option.argChoices ?? [],
        defaultText:
          option.defaultValue === undefined
            ? null
            : (option.defaultValueDescription ?? JSON.stringify(option.defaultValue)),
        description: option.description,
      })),
  };
}

function usageOf(name: string, required: boolean, variadic: boolean): string {
  const inside = variadic ? `${name}...` : name;
  return required ? `<${inside}>` : `[${inside}]`;
}

/** `flashllm plan [options] <model>` */
export function usageLine(program: string, command: CommandOutline): string {
  return [program, command.name, '[options]', ...command.arguments.map(({ usage }) => usage)].join(
    ' ',
  );
}
