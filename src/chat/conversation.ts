/** A user's conversation: turns are added, undone, saved and loaded. */

import { writeAside } from '../aside.ts';
import { brief, isJsonObject, parseJson } from '../checkpoint/json-file.ts';
import { InputError, writeError } from '../errors.ts';
import { readRegular } from '../regular-file.ts';
import type { ChatMessage } from './messages.ts';
import { longestList } from './template-size.ts';

/** The most bytes of a saved conversation. */
const longestFile = 16 * 2 ** 20;

export class Conversation {
  /** The system message; null: none. */
  system: string | null;
  #turns: ChatMessage[] = [];
  /** The number of oldest messages that did not fit and are no longer sent. */
  #left = 0;

  constructor(system: string | null = null) {
    this.system = system;
  }

  /** The messages for the model: the system message, and the turns that are still sent. */
  get messages(): readonly ChatMessage[] {
    return [...this.#systemMessages(), ...this.#turns.slice(this.#left)];
  }

  /** The number of the user's turns. */
  get turns(): number {
    return this.#turns.filter(({ role }) => role === 'user').length;
  }

  add(message: ChatMessage): void {
    this.#turns.push(message);
  }

  /** Leaves the oldest `count` sent messages out from now on. */
  leave(count: number): void {
    this.#left = Math.min(this.#left + count, this.#turns.length);
  }

  /** Removes the user's last turn and everything after it. @returns false if there is none */
  undo(): boolean {
    const at = this.#turns.findLastIndex(({ role }) => role === 'user');
    if (at < 0) return false;
    this.#turns.length = at;
    this.#left = Math.min(this.#left, at);
    return true;
  }

  /** Forgets all turns, but keeps the system message. */
  reset(): void {
    this.#turns = [];
    this.#left = 0;
  }

  /**
   * Writes the whole conversation as JSON; an existing `file` is replaced atomically.
   * @throws InputError when it cannot be written
   */
  async save(file: string): Promise<void> {
    const messages = [...this.#systemMessages(), ...this.#turns];
    const json = `${JSON.stringify({ messages }, null, 2)}\n`;
    try {
      await writeAside(file, async (handle) => {
        await handle.writeFile(json);
      });
    } catch (error) {
      throw writeError(error, file);
    }
  }

  /**
   * Replaces this conversation by a saved one.
   * @throws InputError when the file is not a conversation; then nothing is changed
   */
  async load(file: string): Promise<void> {
    const messages = await readMessages(file);
    const [first] = messages;
    const isSystem = first?.role === 'system';
    this.system = isSystem ? String(first.content) : null;
    this.#turns = messages.slice(isSystem ? 1 : 0);
    this.#left = 0;
  }

  #systemMessages(): readonly ChatMessage[] {
    return this.system === null ? [] : [{ role: 'system', content: this.system }];
  }
}

async function readMessages(file: string): Promise<ChatMessage[]> {
  const bytes = await readRegular(file, longestFile).catch((error: unknown) => {
    if (error instanceof InputError) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    throw new InputError(`cannot read the conversation: ${reason}`, { file });
  });
  const value = parseJson(bytes, file);
  const list: unknown = isJsonObject(value) ? value.messages : undefined;
  if (!Array.isArray(list)) {
    throw new InputError("is not a conversation: it has no list 'messages'", { file });
  }
  if (list.length > longestList) {
    throw new InputError(`has ${list.length} messages; the limit is ${longestList}`, { file });
  }
  return list.map((message: unknown, at) => checkedMessage(message, `messages[${at}]`, file));
}

/** A message with only text, as `save` writes it. */
function checkedMessage(message: unknown, at: string, file: string): ChatMessage {
  if (!isJsonObject(message)) {
    throw new InputError(`${at} is not a message: ${brief(message)}`, { file });
  }
  const { role, content, ...more } = message;
  for (const [name, value] of Object.entries({ role, content })) {
    if (typeof value === 'string') continue;
    throw new InputError(`${at}.${name} is not a string: ${brief(value)}`, { file });
  }
  return { ...more, role: String(role), content: String(content) };
}
