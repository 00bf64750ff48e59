/** Conversations with a model: messages to a prompt, and the answer to a message. */

import {
  type GenerateOptions,
  type GenerateResult,
  generate,
  keepBeginning,
} from '../engine/generate.ts';
import type { Model } from '../engine/model.ts';
import { PromptTooLongError } from '../engine/prompt.ts';
import type { Sequence } from '../engine/sequence.ts';
import { patiently } from '../tokenizer/patience.ts';
import { type ChatTemplates, templatesOf } from './chat-templates.ts';
import type { ChatMessage } from './messages.ts';
import { type AnswerPart, ReasoningSplitter } from './reasoning.ts';
import type { RenderOptions } from './template.ts';

/**
 * Bytes that a conversation takes besides the model: the interpreter of templates (60 turns at the floor
 * of the bundled model: 7 to 13 MiB more than a text without a template), and texts by their positions.
 */
export function conversationBytes(context: number): number {
  return 12 * 2 ** 20 + 256 * context;
}

export interface ChatPromptOptions extends RenderOptions {
  /** In place of the model's own. */
  readonly templates?: ChatTemplates | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface ChatOptions extends Omit<GenerateOptions, 'promptIds'> {
  /** What the messages are rendered with, but for the generation prompt. */
  readonly prompt?: Omit<ChatPromptOptions, 'signal' | 'addGenerationPrompt'>;
  /**
   * Leave out the oldest turns where the context has no room for all, down to half of it. Without it,
   * such a conversation is refused.
   */
  readonly dropOldest?: boolean;
  /** Called with each piece of the answer, told apart by whether it is thought or said. */
  readonly onPart?: (part: AnswerPart) => void;
}

export interface ChatResult extends GenerateResult {
  /** The assistant's, to go on with. */
  readonly message: ChatMessage;
  /** Tokens of the prompt that the sequence held already, and that were not computed anew. */
  readonly reusedTokens: number;
  /** Messages, behind those of the system, that there was no room for. */
  readonly droppedMessages: number;
}

/**
 * The ids of a conversation, as the model's template and tokenizer make them: special tokens that the
 * template writes are those tokens, and none is added.
 * @throws InputError when the model has no template, or the template refuses the messages
 */
export async function chatPrompt(
  model: Model,
  messages: readonly ChatMessage[],
  options: ChatPromptOptions = {},
): Promise<readonly number[]> {
  return (await renderChat(model, messages, options)).ids;
}

/** A conversation as the model is given it. */
export interface RenderedChat {
  readonly text: string;
  readonly ids: readonly number[];
}

/** The same with the text that the ids stand for. @throws as {@link chatPrompt} */
export async function renderChat(
  model: Model,
  messages: readonly ChatMessage[],
  options: ChatPromptOptions,
): Promise<RenderedChat> {
  const templates = options.templates ?? (await templatesOf(model));
  const text = templates.choose(options.tools !== undefined).render(messages, options);
  const encode = () => model.tokenizer.encode(text, { once: true });
  return { text, ids: await patiently(encode, options.signal) };
}

/**
 * The answer to a conversation. What the sequence holds of its beginning, from the turns before, is kept,
 * so that a turn costs what is new.
 * @throws InputError when the template refuses the messages, or the context has no room for them
 */
export async function chat(
  sequence: Sequence,
  messages: readonly ChatMessage[],
  options: ChatOptions,
): Promise<ChatResult> {
  const { prompt: rendering, dropOldest = false, onPart, ...generation } = options;
  const { signal, maxTokens, onText } = generation;
  const { plan, model } = sequence.runtime;
  const { prompt, dropped } = await fit(
    messages,
    (some) => renderChat(model, some, { ...rendering, signal }),
    { context: plan.context, maxTokens, dropOldest },
  );
  const reusedTokens = prompt.ids.length === 0 ? 0 : keepBeginning(sequence, prompt.ids);
  const splitter = new ReasoningSplitter(prompt.text);
  const hand = (parts: readonly AnswerPart[]) => {
    for (const part of parts) onPart?.(part);
  };
  const result = await generate(sequence, {
    ...generation,
    promptIds: prompt.ids,
    onText: (text) => {
      onText?.(text);
      hand(splitter.push(text));
    },
  });
  hand(splitter.flush());
  return {
    ...result,
    message: { role: 'assistant', content: result.text },
    reusedTokens,
    droppedMessages: dropped,
  };
}

interface Room {
  /** Positions. */
  readonly context: number;
  readonly maxTokens: number;
  readonly dropOldest: boolean;
}

/**
 * The ids of a conversation, or of what there is room for. An answer has a quarter of the context, if it
 * may be so long; where that is not free, turns are left out until half of the context is, so that the
 * turns that follow have the same beginning.
 */
async function fit(
  messages: readonly ChatMessage[],
  render: (messages: readonly ChatMessage[]) => Promise<RenderedChat>,
  { context, maxTokens, dropOldest }: Room,
): Promise<{ readonly prompt: RenderedChat; readonly dropped: number }> {
  const prompt = await render(messages);
  const room = context - Math.min(maxTokens, Math.floor(context / 4));
  if (prompt.ids.length <= (dropOldest ? room : context)) return { prompt, dropped: 0 };
  const kept = systemMessages(messages);
  let last = prompt;
  let dropped = 0;
  for (const start of dropOldest ? laterTurns(messages, kept) : []) {
    dropped = start - kept;
    last = await render([...messages.slice(0, kept), ...messages.slice(start)]);
    if (last.ids.length <= context / 2) break;
  }
  const { length } = last.ids;
  if (length <= context) return { prompt: last, dropped };
  const hint = `Shorten it by at least ${length - context} tokens, or give a larger --context`;
  throw new PromptTooLongError(`${length}`, context, hint);
}

/** How many messages of the system a conversation begins with. */
function systemMessages(messages: readonly ChatMessage[]): number {
  const first = messages.findIndex(({ role }) => role !== 'system' && role !== 'developer');
  return first < 0 ? messages.length : first;
}

/** Where turns begin, those of the user, but for the first. */
function laterTurns(messages: readonly ChatMessage[], from: number): readonly number[] {
  return messages.flatMap(({ role }, at) => (at > from && role === 'user' ? [at] : []));
}
