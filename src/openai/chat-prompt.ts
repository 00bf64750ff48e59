/** From a chat request to what is generated: its prompt, room for the answer, what that is held to. */

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

/** Who answers. */
export interface ChatParts {
  readonly model: Model;
  /** Null where the model has none. */
  readonly templates: ChatTemplates | null;
  /** Null where answers cannot be held to any. */
  readonly grammars: Grammars | null;
  readonly contexts: Contexts;
}

/** What one answer is generated from, but for how it is sampled. */
export interface ChatAnswerParts {
  readonly promptIds: readonly number[];
  readonly form: AnswerForm | null;
  /** Whether the text has special tokens as they are written. */
  readonly keepSpecial: boolean;
}

/** A chat that can be answered. */
export interface PreparedChat {
  readonly answer: ChatAnswerParts;
  readonly maxTokens: number;
  /** How the model writes calls; null where there are no tools. */
  readonly toolFormat: ToolFormat | null;
  /** What makes messages of the text of an answer; one for each answer. */
  readonly assembler: () => ChatAssembler;
}

export interface PrepareOptions {
  /** Tokens of an answer where the request does not say how many. */
  readonly usualTokens: number;
  readonly signal: AbortSignal;
}

/**
 * Renders and encodes the messages, and finds what the answer must be like.
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
 * Bytes of the text that a request's messages become: no more tokens than these.
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

/** The form in which a model writes calls. @throws Refusal where its template has none that is known */
function formatFor(templates: ChatTemplates): ToolFormat {
  const format = toolFormatOf(templates.choose(true).source);
  if (format !== null) return format;
  const message = "the model's chat template has no tools, or none in a form that is known";
  throw badRequest('unsupported_parameter', message, 'tools');
}
