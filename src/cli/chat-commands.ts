/** The commands of a chat: lines that begin with a slash are not sent to the model. */

import type { Conversation } from '../chat/conversation.ts';
import { InputError } from '../errors.ts';
import { note, noteLines } from './terminal.ts';

/** The state that commands read and change. */
export interface ChatState {
  readonly conversation: Conversation;
  /** The figures of the last answer, as a text; null before the first. */
  readonly figures: string | null;
}

interface ChatCommand {
  readonly usage: string;
  readonly does: string;
  /** @returns whether the chat continues; undefined means that it does */
  run(state: ChatState, argument: string): Promise<boolean | undefined> | boolean | undefined;
}

const turns = (count: number) => (count === 1 ? 'one turn' : `${count} turns`);

const commands: Readonly<Record<string, ChatCommand>> = {
  help: {
    usage: '/help',
    does: 'show this list',
    run: () => {
      const lines = Object.values(commands).map(({ usage, does }) => `${usage.padEnd(16)}${does}`);
      noteLines([...lines, '', 'Put """ before and after a text of several lines.'].join('\n'));
      return undefined;
    },
  },
  system: {
    usage: '/system [text]',
    does: 'show the system message, or replace it with this text',
    run: ({ conversation }, argument) => {
      if (argument !== '') conversation.system = argument;
      noteLines(conversation.system ?? 'there is no system message');
      return undefined;
    },
  },
  reset: {
    usage: '/reset',
    does: 'forget all turns',
    run: ({ conversation }) => {
      conversation.reset();
      note('all turns are forgotten');
      return undefined;
    },
  },
  undo: {
    usage: '/undo',
    does: 'remove the last turn and its answer',
    run: ({ conversation }) => {
      const done = conversation.undo();
      const left = `${turns(conversation.turns)} left`;
      note(done ? `the last turn is removed, ${left}` : 'there is no turn to remove');
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
    does: 'continue a saved conversation',
    run: async ({ conversation }, argument) => {
      await conversation.load(fileOf(argument, '/load'));
      note(`loaded ${turns(conversation.turns)} from ${argument}`);
      return undefined;
    },
  },
  stats: {
    usage: '/stats',
    does: 'show the time and the bytes read of the last answer',
    run: ({ figures }) => {
      noteLines(figures ?? 'there is no answer yet');
      return undefined;
    },
  },
  exit: { usage: '/exit', does: 'end the chat, as Ctrl-D does', run: () => false },
};

function fileOf(argument: string, command: string): string {
  if (argument !== '') return argument;
  throw new InputError(`${command} needs a file name`);
}

/**
 * Runs the command in a line that begins with a slash.
 * @returns whether the chat continues
 * @throws InputError when there is no such command, or when it fails
 */
export async function runChatCommand(line: string, state: ChatState): Promise<boolean> {
  const [, name = '', argument = ''] = /^\/(\S*)\s*(.*)$/s.exec(line) ?? [];
  const command = Object.hasOwn(commands, name) ? commands[name] : undefined;
  if (command === undefined) {
    throw new InputError(
      `there is no command /${name}`,
      {},
      '/help lists the commands; to send a text that begins with a slash, put """ before and after it',
    );
  }
  return (await command.run(state, argument.trim())) ?? true;
}
