/**
 * Shell completion: the scripts contain all words themselves, so that completing a word starts no
 * process. Option values and arguments without choices complete to file names.
 */

import type { CommandOutline, OptionOutline, ProgramOutline } from './outline.ts';

export const shells = ['bash', 'zsh', 'fish'] as const;
export type Shell = (typeof shells)[number];

const writers: Record<Shell, (program: ProgramOutline) => string> = {
  bash: bashScript,
  zsh: zshScript,
  fish: fishScript,
};

/** The completion script for a shell. */
export function completionScript(shell: Shell, program: ProgramOutline): string {
  return writers[shell](program);
}

/** The short and the long name of an option, with their dashes. */
function namesOf({ long, short }: OptionOutline): string[] {
  return short === null ? [long] : [short, long];
}

function choicesOf(command: CommandOutline): readonly string[] {
  return command.arguments.flatMap(({ choices }) => choices);
}

/** The text in single quotes, in a form that all three shells accept. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

function bashScript({ name, commands, options }: ProgramOutline): string {
  const cases = commands.map((command) => {
    const values = command.options.filter(({ takesValue }) => takesValue);
    const patterns = (options: readonly OptionOutline[]) => options.flatMap(namesOf).join(' | ');
    const files = values.filter(({ choices }) => choices.length === 0);
    const lines = [
      ...values
        .filter(({ choices }) => choices.length > 0)
        .map(
          (option) =>
            `    ${patterns([option])}) flags='' words=${quoted(option.choices.join(' '))} ;;`,
        ),
      ...(files.length === 0 ? [] : [`    ${patterns(files)}) flags='' words='' ;;`]),
    ];
    return [
      `  ${command.name})`,
      `    flags=${quoted(command.options.flatMap(namesOf).join(' '))}`,
      `    words=${quoted(choicesOf(command).join(' '))}`,
      ...(lines.length === 0 ? [] : ['    case $before in', ...lines, '    esac']),
      '    ;;',
    ].join('\n');
  });
  const names = commands.map((command) => command.name).join(' ');
  return `# Completion for bash: source <(${name} completion bash)
_${name}() {
  local word=\${COMP_WORDS[COMP_CWORD]} before=\${COMP_WORDS[COMP_CWORD-1]} flags='' words=''
  COMPREPLY=()
  if ((COMP_CWORD == 1)); then
    COMPREPLY=($(compgen -W ${quoted(`${names} help ${options.flatMap(namesOf).join(' ')}`)} -- "$word"))
    return
  fi
  case \${COMP_WORDS[1]} in
  help) words=${quoted(names)} ;;
${cases.join('\n')}
  esac
  if [[ $word == -* ]]; then
    COMPREPLY=($(compgen -W "$flags" -- "$word"))
  elif [[ -n $words ]]; then
    COMPREPLY=($(compgen -W "$words" -- "$word"))
  else
    COMPREPLY=($(compgen -f -- "$word"))
  fi
}
complete -o filenames -F _${name} ${name}
`;
}

function zshScript({ name, commands, options }: ProgramOutline): string {
  // Within a specification, colons and brackets are special characters.
  const plain = (text: string) => text.replace(/[[\]:\\]/g, (found) => `\\${found}`);
  const specification = (option: OptionOutline): string[] => {
    const value = option.choices.length === 0 ? '_files' : `(${option.choices.join(' ')})`;
    const rest = `[${plain(option.description)}]${option.takesValue ? `:value:${value}` : ''}`;
    return namesOf(option).map((flag) => `    ${quoted(`${flag}${rest}`)}`);
  };
  const cases = commands.map((command) => {
    const choices = choicesOf(command);
    const last = choices.length === 0 ? '*:file:_files' : `*:word:(${choices.join(' ')})`;
    const all = [...command.options.flatMap(specification), `    ${quoted(last)}`];
    return `  ${command.name}) _arguments -s \\\n${all.join(' \\\n')} ;;`;
  });
  const listed = commands.map(
    (command) => `    ${quoted(`${command.name}:${plain(command.description)}`)}`,
  );
  return `#compdef ${name}
# Completion for zsh: ${name} completion zsh > "\${fpath[1]}/_${name}"
_${name}() {
  local -a commands
  commands=(
${listed.join('\n')}
  )
  if ((CURRENT == 2)); then
    _describe command commands
    _arguments ${options.flatMap(namesOf).map(quoted).join(' ')}
    return
  fi
  local name=$words[2]
  shift words
  ((CURRENT--))
  case $name in
  help) _describe command commands ;;
${cases.join('\n')}
  esac
}
if [ "$funcstack[1]" = _${name} ]; then _${name} "$@"; else compdef _${name} ${name}; fi
`;
}

function fishScript({ name, commands, options }: ProgramOutline): string {
  const optionLine = (option: OptionOutline, when: string) => {
    const short = option.short === null ? '' : ` -s ${option.short.replace(/^-/, '')}`;
    const value =
      option.choices.length > 0
        ? ` -x -a ${quoted(option.choices.join(' '))}`
        : option.takesValue
          ? ' -r -F'
          : '';
    const long = option.long.replace(/^--/, '');
    return `complete -c ${name} -n ${quoted(when)} -l ${long}${short}${value} -d ${quoted(option.description)}`;
  };
  const lines = [
    `# Completion for fish: ${name} completion fish > ~/.config/fish/completions/${name}.fish`,
    ...options.map((option) => optionLine(option, '__fish_use_subcommand')),
    `complete -c ${name} -f -n __fish_use_subcommand -a help -d ${quoted('display help for a command')}`,
  ];
  for (const command of commands) {
    const seen = `__fish_seen_subcommand_from ${command.name}`;
    const choices = choicesOf(command);
    lines.push(
      `complete -c ${name} -f -n __fish_use_subcommand -a ${command.name} -d ${quoted(command.description)}`,
      ...command.options.map((option) => optionLine(option, seen)),
      ...(choices.length === 0
        ? []
        : [`complete -c ${name} -f -n ${quoted(seen)} -a ${quoted(choices.join(' '))}`]),
    );
  }
  return `${lines.join('\n')}\n`;
}
