/** The reference of the commands, as a page of the documentation and as a manual page. */

import {
  type CommandOutline,
  type OptionOutline,
  type ProgramOutline,
  usageLine,
} from './outline.ts';

/** Conventions of every command. */
const conventions = [
  'Results go to stdout, everything else to stderr. With --json, stdout carries one JSON object and nothing else.',
  "A size is a number of bytes, or a number followed by KB, MB, GB, KiB, MiB or GiB; a budget may also be a percentage of the model's weights, such as 50%.",
];

const exitCodes = [
  ['0', 'success'],
  ['1', 'failure: a device error, or a fault of the program'],
  ['2', 'the command line or its input cannot be used'],
  ['130', 'interrupted by Ctrl-C; 143 by SIGTERM'],
] as const;

const variables = [
  ['NO_COLOR', 'if set, the output has no colours'],
  [
    'UV_THREADPOOL_SIZE',
    'the most reads from flash in flight; if not set, 16 with predictors, else 8',
  ],
  ['XDG_CACHE_HOME', 'base directory for the saved device profiles'],
] as const;

function described({ description, choices, defaultText }: OptionOutline): string {
  const notes = [
    ...(choices.length === 0 ? [] : [`one of ${choices.join(', ')}`]),
    ...(defaultText === null ? [] : [`default ${defaultText}`]),
  ];
  return notes.length === 0 ? description : `${description} (${notes.join('; ')})`;
}

/** The page in Markdown. */
export function markdownReference(program: ProgramOutline): string {
  const lines = [
    '# Commands',
    '',
    '`npm run generate` writes this page from the program itself, and a test holds it against the program.',
    '',
    ...conventions.flatMap((text) => [text, '']),
    '| command | description |',
    '|---|---|',
    ...program.commands.map(
      ({ name, description }) => `| [${name}](#${name}) | ${cell(description)} |`,
    ),
    '',
    'Options of every command:',
    '',
    ...optionTable(program.options),
    ...program.commands.flatMap((command) => [
      `## ${command.name}`,
      '',
      `    ${usageLine(program.name, command)}`,
      '',
      `${sentence(command.description)}`,
      '',
      ...argumentTable(command),
      ...optionTable(command.options),
    ]),
    '## Exit codes',
    '',
    '| code | means |',
    '|---|---|',
    ...exitCodes.map(([code, meaning]) => `| ${code} | ${meaning} |`),
    '',
    '## Environment',
    '',
    '| variable | means |',
    '|---|---|',
    ...variables.map(([name, meaning]) => `| \`${name}\` | ${meaning} |`),
  ];
  return `${lines.join('\n')}\n`;
}

function argumentTable({ arguments: found }: CommandOutline): string[] {
  if (found.length === 0) return [];
  const rows = found.map(({ usage, description }) => `| \`${usage}\` | ${cell(description)} |`);
  return ['| argument | description |', '|---|---|', ...rows, ''];
}

function optionTable(options: readonly OptionOutline[]): string[] {
  if (options.length === 0) return [];
  const rows = options.map((option) => `| \`${option.flags}\` | ${cell(described(option))} |`);
  return ['| option | description |', '|---|---|', ...rows, ''];
}

/** Text within a table. */
function cell(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll('<', '\\<');
}

function sentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1).replace(/\.$/, '')}.`;
}

/** The manual page, in the `man` macros. */
export function manualPage(program: ProgramOutline): string {
  const { name, version, description } = program;
  const lines = [
    `.TH ${name.toUpperCase()} 1 "" "${name} ${version}" "User commands"`,
    '.SH NAME',
    `${name} \\- ${roff(description.replace(/\.$/, ''))}`,
    '.SH SYNOPSIS',
    `.B ${name}`,
    '.I command',
    '[options]',
    '.SH DESCRIPTION',
    ...conventions.flatMap((text) => ['.PP', roff(text)]),
    '.SH OPTIONS',
    ...program.options.flatMap(optionLines),
    '.SH COMMANDS',
    ...program.commands.flatMap((command) => [
      `.SS ${roff(usageLine(name, command))}`,
      roff(sentence(command.description)),
      ...command.arguments.flatMap(({ usage, description: text }) => [
        '.TP',
        `.I ${roff(usage)}`,
        roff(text),
      ]),
      ...command.options.flatMap(optionLines),
    ]),
    '.SH EXIT STATUS',
    ...exitCodes.flatMap(([code, meaning]) => ['.TP', `.B ${code}`, roff(meaning)]),
    '.SH ENVIRONMENT',
    ...variables.flatMap(([variable, meaning]) => ['.TP', `.B ${variable}`, roff(meaning)]),
  ];
  return `${lines.join('\n')}\n`;
}

function optionLines(option: OptionOutline): string[] {
  return ['.TP', `.B ${roff(option.flags)}`, roff(described(option))];
}

/** Text with everything escaped that roff would interpret. */
function roff(text: string): string {
  return text
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replace(/^([.'])/, '\\&$1');
}
