/** Reads the messages of a chat request into the form that templates expect. */

import type { ChatMessage, ToolCall } from '../chat/messages.ts';
import { brief, isJsonObject } from '../checkpoint/json-file.ts';
import { invalid } from './fields.ts';
import { badRequest } from './refusal.ts';

/** The most messages in a request. */
const mostMessages = 4096;

/** @throws Refusal that names the message at fault */
export function readMessages(value: unknown): readonly ChatMessage[] {
  if (value === undefined) {
    throw badRequest('missing_parameter', "'messages' is missing", 'messages');
  }
  if (!Array.isArray(value) || value.length === 0 || value.length > mostMessages) {
    throw invalid('messages', `a list of 1 to ${mostMessages} messages`, value);
  }
  return value.map((message: unknown, at) => readMessage(message, `messages[${at}]`));
}

function readMessage(value: unknown, at: string): ChatMessage {
  if (!isJsonObject(value)) throw invalid(at, 'an object', value);
  const { role, content, tool_calls: calls, ...more } = value;
  if (typeof role !== 'string' || role === '') throw invalid(`${at}.role`, 'a text', role);
  const text = readContent(content, `${at}.content`);
  if (calls === undefined || calls === null) {
    if (text === null && role !== 'assistant') throw invalid(`${at}.content`, 'a text', content);
    return { ...more, role, content: text };
  }
  if (!Array.isArray(calls)) throw invalid(`${at}.tool_calls`, 'a list', calls);
  const tool_calls = calls.map((call: unknown, i) => readCall(call, `${at}.tool_calls[${i}]`));
  return { ...more, role, content: text, tool_calls };
}

/** The content as a text, or as the texts of its parts. */
function readContent(value: unknown, at: string): string | null {
  if (value === undefined || value === null) return null;
  if (typeof value === 'string') return value;
  if (!Array.isArray(value)) throw invalid(at, 'a text or a list of parts', value);
  const parts = value.map((part: unknown, i) => {
    if (isJsonObject(part) && part.type === 'text' && typeof part.text === 'string')
      return part.text;
    const message = `'${at}[${i}]' must be a part of the type text, not ${brief(part)}: only text is supported`;
    throw badRequest('invalid_value', message, at);
  });
  return parts.join('\n');
}

/** A tool call of an earlier turn: templates expect its arguments as an object. */
function readCall(value: unknown, at: string): ToolCall {
  const called = isJsonObject(value) && isJsonObject(value.function) ? value.function : null;
  if (!isJsonObject(value) || called === null)
    throw invalid(at, "an object with a 'function'", value);
  const { name, arguments: given } = called;
  if (typeof name !== 'string') throw invalid(`${at}.function.name`, 'a text', name);
  return {
    ...value,
    type: 'function',
    function: { name, arguments: argumentsOf(given, `${at}.function.arguments`) },
  } as ToolCall;
}

function argumentsOf(value: unknown, at: string): Readonly<Record<string, unknown>> | string {
  if (isJsonObject(value)) return value;
  if (typeof value !== 'string') throw invalid(at, 'JSON in a text', value);
  try {
    const parsed: unknown = JSON.parse(value);
    return isJsonObject(parsed) ? parsed : value;
  } catch {
    return value;
  }
}
