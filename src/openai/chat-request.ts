/** `/v1/chat/completions`: reads the body of a request. */

import type { ChatMessage, ChatTool } from '../chat/messages.ts';
import { isJsonObject } from '../checkpoint/json-file.ts';
import { type AnswerFields, answerFields, readAnswer } from './answer-fields.ts';
import { readMessages } from './chat-messages.ts';
import {
  type Body,
  checkFields,
  field,
  flagField,
  invalid,
  type NeutralValues,
  numberField,
} from './fields.ts';
import {
  type GenerationFields,
  generationFields,
  ignoredFields,
  readGeneration,
  tokensField,
  usualTopK,
} from './generation-fields.ts';
import { badRequest } from './refusal.ts';

/** Whether tools may, must or must not be called; or which one must. */
export type ToolChoice = 'none' | 'auto' | 'required' | { readonly name: string };

export type ResponseFormat =
  | { readonly type: 'text' }
  | { readonly type: 'json_object' }
  | { readonly type: 'json_schema'; readonly schema: unknown };

/** The contents of a body. */
export interface ChatRequest extends GenerationFields, AnswerFields {
  readonly messages: readonly ChatMessage[];
  /** Empty if none are given, or none may be called. */
  readonly tools: readonly ChatTool[];
  readonly toolChoice: ToolChoice;
  /** Whether an answer may contain several calls. */
  readonly parallelToolCalls: boolean;
  readonly responseFormat: ResponseFormat;
  /** How many of the most likely tokens are reported with each token; null: no probabilities. */
  readonly logprobs: number | null;
  /** Further variables for the template. */
  readonly variables: Readonly<Record<string, unknown>>;
}

const mostTopLogprobs = { least: 0, most: 20, whole: true };
/** The most tools in a request. */
const mostTools = 128;

const ignored = [...ignoredFields, 'safety_identifier', 'prompt_cache_key', 'verbosity'];
const known = new Set([
  ...[...generationFields, ...answerFields, ...ignored],
  ...['messages', 'tools', 'tool_choice', 'parallel_tool_calls', 'response_format', 'logprobs'],
  ...['top_logprobs', 'max_completion_tokens', 'chat_template_kwargs', 'reasoning_effort'],
]);
const unsupported: NeutralValues = {
  modalities: (value) => Array.isArray(value) && value.length === 1 && value[0] === 'text',
  audio: () => false,
  prediction: () => false,
  web_search_options: () => false,
  functions: () => false,
  function_call: () => false,
};

/**
 * Reads the body of a request.
 * @param notHere fields that the caller does not support
 * @throws Refusal that names the field at fault
 */
export function readChatRequest(body: Body, notHere: NeutralValues = {}): ChatRequest {
  checkFields(body, known, { ...unsupported, ...notHere });
  const generation = readGeneration(body, usualTopK);
  const tools = readTools(field(body, 'tools'));
  const toolChoice = readToolChoice(field(body, 'tool_choice'), tools);
  return {
    ...generation,
    ...readAnswer(body),
    maxTokens: tokensField(body, 'max_completion_tokens') ?? generation.maxTokens,
    messages: readMessages(field(body, 'messages')),
    tools: toolChoice === 'none' ? [] : tools,
    toolChoice,
    parallelToolCalls: flagField(body, 'parallel_tool_calls') ?? true,
    responseFormat: readResponseFormat(field(body, 'response_format')),
    logprobs: readLogprobs(body),
    variables: readVariables(body),
  };
}

/** Whether a tool call is required. */
export function demandsCall({ toolChoice }: Pick<ChatRequest, 'toolChoice'>): boolean {
  return toolChoice === 'required' || typeof toolChoice === 'object';
}

/** Whether the answer needs a grammar. */
export function needsGrammar(request: ChatRequest): boolean {
  return demandsCall(request) || request.responseFormat.type !== 'text';
}

function readLogprobs(body: Body): number | null {
  const wanted = flagField(body, 'logprobs') ?? false;
  const top = numberField(body, 'top_logprobs', mostTopLogprobs);
  if (top !== undefined && !wanted) {
    throw badRequest('invalid_value', "'top_logprobs' needs 'logprobs' to be true", 'top_logprobs');
  }
  return wanted ? (top ?? 0) : null;
}

function readVariables(body: Body): Readonly<Record<string, unknown>> {
  const variables = field(body, 'chat_template_kwargs') ?? {};
  if (!isJsonObject(variables)) throw invalid('chat_template_kwargs', 'an object', variables);
  const effort = field(body, 'reasoning_effort');
  if (effort === undefined) return variables;
  if (typeof effort !== 'string') throw invalid('reasoning_effort', 'a text', effort);
  return { reasoning_effort: effort, ...variables };
}

function readTools(value: unknown): readonly ChatTool[] {
  if (value === undefined) return [];
  if (!Array.isArray(value) || value.length > mostTools) {
    throw invalid('tools', `a list of at most ${mostTools} tools`, value);
  }
  return value.map((tool: unknown, at) => {
    const param = `tools[${at}]`;
    if (!isJsonObject(tool) || tool.type !== 'function' || !isJsonObject(tool.function)) {
      throw invalid(param, "an object of the type 'function' with a 'function'", tool);
    }
    const { name, description, parameters } = tool.function;
    if (typeof name !== 'string' || !/^[\w.-]{1,64}$/.test(name)) {
      throw invalid(`${param}.function.name`, '1 to 64 letters, digits, _, . and -', name);
    }
    if (description !== undefined && typeof description !== 'string') {
      throw invalid(`${param}.function.description`, 'a text', description);
    }
    if (parameters !== undefined && !isJsonObject(parameters)) {
      throw invalid(`${param}.function.parameters`, 'a JSON schema', parameters);
    }
    return { type: 'function', function: { ...tool.function, name } } as ChatTool;
  });
}

function readToolChoice(value: unknown, tools: readonly ChatTool[]): ToolChoice {
  if (value === undefined) return tools.length === 0 ? 'none' : 'auto';
  if (value === 'none' || value === 'auto') return tools.length === 0 ? 'none' : value;
  if (tools.length === 0) {
    throw badRequest(
      'invalid_value',
      "'tool_choice' requires a tool call, but there are no tools",
      'tools',
    );
  }
  if (value === 'required') return value;
  const name =
    isJsonObject(value) && isJsonObject(value.function) ? value.function.name : undefined;
  if (typeof name === 'string' && tools.some((tool) => tool.function.name === name))
    return { name };
  const must =
    "none, auto, required, or an object of the type 'function' that names one of 'tools'";
  throw invalid('tool_choice', must, value);
}

function readResponseFormat(value: unknown): ResponseFormat {
  if (value === undefined) return { type: 'text' };
  if (isJsonObject(value)) {
    const { type, json_schema: described } = value;
    if (type === 'text' || type === 'json_object') return { type };
    if (type === 'json_schema' && isJsonObject(described) && described.schema !== undefined) {
      return { type, schema: described.schema };
    }
  }
  const must =
    "an object of the type text, json_object, or json_schema with a 'json_schema' that has a 'schema'";
  throw invalid('response_format', must, value);
}
