/** What may be said to a chat besides texts for the model: lines that begin with a slash. */

import type { Conversation } from '../chat/conversation.ts';
import { InputError } from '../errors.ts';
import { note, noteLines } from './terminal.ts';

/** What commands work on. */
export interface ChatState {
  readonly conversation: Conversation;
  /** The figures of the last answer, as a text; null before the first. */
  readonly figures: string | null;
}

interface ChatCommand {
  readonly usage: string;
  readonly does: string;
  /** @returns whether the chat goes on; nothing where it does */
  run(state: ChatState, argument: string): Promise<boolean | undefined> | boolean | undefined;
}

const turns = (count: number) => (count === 1 ? 'one turn' : `${count} turns`);

const commands: Readonly<Record<string, ChatCommand>> = {
  help: {
    usage: '/help',
    does: 'this list',
    run: () => {
      const lines = Object.values(commands).map(({ usage, does }) => `${usage.padEnd(16)}${does}`);
      noteLines([...lines, '', 'Several lines go between """ and """.'].join('\n'));
      return undefined;
    },
  },
  system: {
    usage: '/system [text]',
    does: 'the system message, or what it is to say from now on',
    run: ({ conversation }, argument) => {
      if (argument !== '') conversation.system = argument;
      noteLines(conversation.system ?? 'the system says nothing');
      return undefined;
    },
  },
  reset: {
    usage: '/reset',
    does: 'forget all turns',
    run: ({ conversation }) => {
      conversation.reset();
      note('the turns are forgotten');
      return undefined;
    },
  },
  undo: {
    usage: '/undo',
    does: 'take the last turn and its answer back',
    run: ({ conversation }) => {
      const done = conversation.undo();
      const left = `${turns(conversation.turns)} left`;
      note(done ? `the last turn is taken back, ${left}` : 'there is no turn to take back');
      return undefined;
    },
  },
  save: {
    usage: '/save <file>',
    does: 'write the conversation to a file, as JSON',
    run: async ({ conversation }, argument) => {
      await conversation.save(fileOf(argument, '/save'));
      note(`saved ${turns(conversation.turns)} to ${argument}`);
      return undefined;
    },
  },
  load: {
    usage: '/load <file>',
    does: 'go on with a conversation that was saved',
    run: async ({ conversation }, argument) => {
      await conversation.load(fileOf(argument, '/load'));
      note(`loaded ${turns(conversation.turns)} from ${argument}`);
      return undefined;
    },
  },
  stats: {
    usage: '/stats',
    does: 'where the time and the bytes of the last answer went',
    run: ({ figures }) => {
      noteLines(figures ?? 'there is no answer yet');
      return undefined;
    },
  },
  exit: { usage: '/exit', does: 'end the conversation, as Ctrl-D does', run: () => false },
};

function fileOf(argument: string, command: string): string {
  if (argument !== '') return argument;
  throw new InputError(`${command} needs a file name`);
}

/**
 * Runs the command in a line that begins with a slash.
 * @returns whether the chat goes on
 * @throws InputError when there is no such command, or it cannot do its work
 */
export async function runChatCommand(line: string, state: ChatState): Promise<boolean> {
  const [, name = '', argument = ''] = /^\/(\S*)\s*(.*)$/s.exec(line) ?? [];
  const command = Object.hasOwn(commands, name) ? commands[name] : undefined;
  if (command === undefined) {
    throw new InputError(
      `there is no command /${name}`,
      {},
      '/help lists the commands; put a text that begins with a slash between """',
    );
  }
  return (await command.run(state, argument.trim())) ?? true;
}
