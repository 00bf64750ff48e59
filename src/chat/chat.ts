/** Conversations with a model: renders messages to a prompt, and generates the answer. */

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
 * Bytes that a conversation takes in addition to the model: the template interpreter (60 turns at the floor
 * of the bundled model take 7 to 13 MiB more than a text without a template), and texts in proportion to
 * the positions.
 */
export function conversationBytes(context: number): number {
  return 12 * 2 ** 20 + 256 * context;
}

export interface ChatPromptOptions extends RenderOptions {
  /** Templates to use instead of the model's own. */
  readonly templates?: ChatTemplates | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface ChatOptions extends Omit<GenerateOptions, 'promptIds'> {
  /** Options of rendering, except for the generation prompt. */
  readonly prompt?: Omit<ChatPromptOptions, 'signal' | 'addGenerationPrompt'>;
  /**
   * If the context has no room for all turns, leave out the oldest until the rest takes at most half of it.
   * Without this option, such a conversation is refused.
   */
  readonly dropOldest?: boolean;
  /** Called with each piece of the answer, marked as reasoning or content. */
  readonly onPart?: (part: AnswerPart) => void;
}

export interface ChatResult extends GenerateResult {
  /** The assistant's message, to continue the conversation with. */
  readonly message: ChatMessage;
  /** Prompt tokens that the sequence already held, and that were not computed again. */
  readonly reusedTokens: number;
  /** Messages after those of the system that were left out for lack of room. */
  readonly droppedMessages: number;
}

/**
 * The token ids of a conversation, from the model's template and tokenizer: the text of a special token in
 * the template becomes that token, and no special token is added.
 * @throws InputError when the model has no template, or the template refuses the messages
 */
export async function chatPrompt(
  model: Model,
  messages: readonly ChatMessage[],
  options: ChatPromptOptions = {},
): Promise<readonly number[]> {
  return (await renderChat(model, messages, options)).ids;
}

/** A conversation as the model receives it. */
export interface RenderedChat {
  readonly text: string;
  readonly ids: readonly number[];
}

/** The ids as in {@link chatPrompt}, with their text. @throws as {@link chatPrompt} */
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
 * Generates the answer to a conversation. Positions that the sequence already holds from earlier turns are
 * reused, so that only new messages are computed.
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
  /** The context in positions. */
  readonly context: number;
  readonly maxTokens: number;
  readonly dropOldest: boolean;
}

/**
 * The token ids of a conversation, or of as much of it as fits. An answer gets up to a quarter of the context;
 * if that is not free, turns are left out until half of the context is free, so that the next turns still
 * have the same beginning.
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

/** How many system messages a conversation begins with. */
function systemMessages(messages: readonly ChatMessage[]): number {
  const first = messages.findIndex(({ role }) => role !== 'system' && role !== 'developer');
  return first < 0 ? messages.length : first;
}

/** The indices of the user's messages, which begin turns, except for the first. */
function laterTurns(messages: readonly ChatMessage[], from: number): readonly number[] {
  return messages.flatMap(({ role }, at) => (at > from && role === 'user' ? [at] : []));
}
