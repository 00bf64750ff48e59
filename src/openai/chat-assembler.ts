/** Splits the text of an answer, as it is generated, into reasoning, content and tool calls. */

import { randomBytes } from 'node:crypto';
import { type AnswerPart, ReasoningSplitter } from '../chat/reasoning.ts';
import { ToolCallReader, type ToolFormat, type WrittenCall } from '../chat/tool-calls.ts';
import type { CallObject, ChatChoice, ChatDelta, ChatFinish } from './chat-answer.ts';
import type { Completion } from './completion.ts';

export interface AssemblerOptions {
  /** The prompt that the answer continues: its template may already have opened the reasoning. */
  readonly prompt: string;
  /** How the model writes tool calls; null if there are no tools. */
  readonly toolFormat: ToolFormat | null;
  /** Names of the tools. */
  readonly toolNames: readonly string[];
  /** Whether reasoning is separated from content. */
  readonly thinks: boolean;
}

const marks = /<\/?think>/g;

export class ChatAssembler {
  /** Content and reasoning so far; tool calls when the answer is complete. */
  content = '';
  reasoning = '';
  calls: readonly CallObject[] = [];
  readonly #splitter: ReasoningSplitter | null;
  readonly #reader: ToolCallReader | null;
  readonly #toolFormat: ToolFormat | null;

  constructor({ prompt, toolFormat, toolNames, thinks }: AssemblerOptions) {
    this.#splitter = thinks ? new ReasoningSplitter(prompt) : null;
    this.#reader = toolFormat === null ? null : new ToolCallReader(toolFormat, toolNames);
    this.#toolFormat = toolFormat;
  }

  /** Takes more text. @returns what it adds to the answer, as far as that is certain */
  push(text: string): ChatDelta[] {
    const parts = this.#splitter?.push(text) ?? [{ text, thought: false }];
    return parts.flatMap((part) => this.#take(part));
  }

  /** The rest, when the answer is complete. */
  finish(): ChatDelta[] {
    const deltas = (this.#splitter?.flush() ?? []).flatMap((part) => this.#take(part));
    const { text, calls } = this.#reader?.finish() ?? { text: '', calls: [] };
    this.calls = calls.map((call) => callObject(call, this.#toolFormat));
    deltas.push(...this.#say(text));
    if (this.calls.length > 0) {
      deltas.push({ tool_calls: this.calls.map((call, index) => ({ index, ...call })) });
    }
    return deltas;
  }

  /** Why the complete answer ended. */
  finishOf({ finishReason }: Pick<Completion, 'finishReason'>): ChatFinish {
    return this.calls.length > 0 ? 'tool_calls' : finishReason;
  }

  /** The complete answer, after all its text was pushed, as a `choice` of the answer object. */
  choice(
    index: number,
    answer: Pick<Completion, 'finishReason'>,
    logprobs: object | null,
  ): ChatChoice {
    this.finish();
    const { content, reasoning, calls } = this;
    return {
      index,
      message: {
        role: 'assistant',
        content: content === '' && calls.length > 0 ? null : content,
        refusal: null,
        ...(reasoning === '' ? {} : { reasoning_content: reasoning }),
        ...(calls.length === 0 ? {} : { tool_calls: calls }),
      },
      logprobs,
      finish_reason: this.finishOf(answer),
    };
  }

  #take({ text, thought }: AnswerPart): ChatDelta[] {
    if (!thought) return this.#say(this.#reader?.push(text) ?? text);
    const plain = text.replace(marks, '');
    const added = this.reasoning === '' ? plain.trimStart() : plain;
    if (added === '') return [];
    this.reasoning += added;
    return [{ reasoning_content: added }];
  }

  #say(text: string): ChatDelta[] {
    // Blanks between reasoning, or a call, and the text after it belong to neither.
    const follows = this.content === '' && (this.reasoning !== '' || this.calls.length > 0);
    const added = follows ? text.trimStart() : text;
    if (added === '') return [];
    this.content += added;
    return [{ content: added }];
  }
}

/** Mistral's templates only accept ids of nine letters and digits. */
const shortId = 9;

function callObject(
  { name, arguments: given }: WrittenCall,
  format: ToolFormat | null,
): CallObject {
  const digits = randomBytes(12).toString('hex');
  const isShort = format === 'mistral' || format === 'mistral-args';
  const id = isShort ? digits.slice(0, shortId) : `call_${digits}`;
  return { id, type: 'function', function: { name, arguments: given } };
}
