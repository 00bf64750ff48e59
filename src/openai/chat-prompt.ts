/** Prepares a chat request: its prompt, the length of the answer, and its required form. */

import { renderChat } from '../chat/chat.ts';
import type { ChatTemplates } from '../chat/chat-templates.ts';
import { hasSpecialMarks, type ToolFormat, toolFormatOf } from '../chat/tool-calls.ts';
import type { Model } from '../engine/model.ts';
import type { Grammars } from '../grammar/grammars.ts';
import type { AnswerForm } from './answer-guide.ts';
import { ChatAssembler } from './chat-assembler.ts';
import { formOf } from './chat-form.ts';
import type { ChatRequest } from './chat-request.ts';
import { type Contexts, promptIdsFor, tokensWithin } from './prompt-room.ts';
import { badRequest } from './refusal.ts';

/** The model, and what it can do. */
export interface ChatParts {
  readonly model: Model;
  /** Null if the model has none. */
  readonly templates: ChatTemplates | null;
  /** Null if grammars are disabled. */
  readonly grammars: Grammars | null;
  readonly contexts: Contexts;
}

/** The input of one answer, except for its sampling options. */
export interface ChatAnswerParts {
  readonly promptIds: readonly number[];
  readonly form: AnswerForm | null;
  /** Whether special tokens appear in the text. */
  readonly keepSpecial: boolean;
}

/** A chat that is ready to be answered. */
export interface PreparedChat {
  readonly answer: ChatAnswerParts;
  readonly maxTokens: number;
  /** How the model writes tool calls; null if there are no tools. */
  readonly toolFormat: ToolFormat | null;
  /** Makes the object that turns an answer's text into a message; each answer needs its own. */
  readonly assembler: () => ChatAssembler;
}

export interface PrepareOptions {
  /** The length of an answer in tokens if the request sets none. */
  readonly usualTokens: number;
  readonly signal: AbortSignal;
}

/**
 * Renders and encodes the messages, and determines the required form of the answer.
 * @throws Refusal when the request is at fault, or the model has no template
 */
export async function prepareChat(
  request: ChatRequest,
  { model, templates, grammars, contexts }: ChatParts,
  { usualTokens, signal }: PrepareOptions,
): Promise<PreparedChat> {
  const { messages, variables } = request;
  const chosen = chosenTemplates(templates);
  const tools = request.tools.length === 0 ? undefined : request.tools;
  const toolFormat = tools === undefined ? null : formatFor(chosen);
  let prompt = '';
  const promptIds = await promptIdsFor(contexts, 'messages', async () => {
    const options = { templates: chosen, tools, variables, signal };
    const { text, ids } = await renderChat(model, messages, options);
    prompt = text;
    return ids;
  });
  const thinking = prompt.lastIndexOf('<think>') > prompt.lastIndexOf('</think>');
  const { tokenizer } = model;
  const form = await formOf(request, { tokenizer, grammars, toolFormat, thinking });
  const maxTokens = tokensWithin(contexts, promptIds.length, request.maxTokens, usualTokens);
  const keepSpecial = toolFormat !== null && hasSpecialMarks(toolFormat);
  const toolNames = request.tools.map((tool) => tool.function.name);
  const thinks = form === null || thinking;
  return {
    answer: { promptIds, form, keepSpecial },
    maxTokens,
    toolFormat,
    assembler: () => new ChatAssembler({ prompt, toolFormat, toolNames, thinks }),
  };
}

/**
 * Bytes of the rendered messages of a request, an upper bound for their tokens.
 * @throws Refusal when there is no template; InputError when it refuses the messages
 */
export function chatTextBytes(
  { messages, tools, variables }: ChatRequest,
  templates: ChatTemplates | null,
): number {
  const given = tools.length === 0 ? undefined : tools;
  const template = chosenTemplates(templates).choose(given !== undefined);
  return Buffer.byteLength(template.render(messages, { tools: given, variables }));
}

function chosenTemplates(templates: ChatTemplates | null): ChatTemplates {
  if (templates !== null) return templates;
  const message =
    'the model has no chat template: use /v1/completions, or give a template with --template';
  throw badRequest('unsupported_parameter', message, 'messages');
}

/** How a model writes tool calls. @throws Refusal if its template shows no known form */
function formatFor(templates: ChatTemplates): ToolFormat {
  const format = toolFormatOf(templates.choose(true).source);
  if (format !== null) return format;
  const message = "the model's chat template does not support tools, or not in a known form";
  throw badRequest('unsupported_parameter', message, 'tools');
}
