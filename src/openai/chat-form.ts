/** What the answer to a chat is held to: a JSON schema, or calls of tools that are demanded. */

import type { ChatTool } from '../chat/messages.ts';
import { type ToolFormat, toolCallGrammar } from '../chat/tool-calls.ts';
import type { GrammarFormat } from '../grammar/format.ts';
import { GrammarError, type Grammars } from '../grammar/grammars.ts';
import { checkedSchema } from '../grammar/schema-check.ts';
import { jsonFormat } from '../grammar/schema-rules.ts';
import type { Tokenizer } from '../tokenizer/tokenizer.ts';
import type { AnswerForm } from './answer-guide.ts';
import { type ChatRequest, demandsCall, needsGrammar } from './chat-request.ts';
import { badRequest } from './refusal.ts';

export interface FormParts {
  readonly tokenizer: Tokenizer;
  /** Null where answers cannot be held to any. */
  readonly grammars: Grammars | null;
  readonly toolFormat: ToolFormat | null;
  /** Whether the template has opened a thought. */
  readonly thinking: boolean;
}

/**
 * What the answer is held to; null where it is free.
 * @throws Refusal when the engine does not take it, or there is none
 */
export async function formOf(request: ChatRequest, parts: FormParts): Promise<AnswerForm | null> {
  const { grammars, tokenizer, toolFormat, thinking } = parts;
  if (!needsGrammar(request)) return null;
  const demanded = demandsCall(request);
  const param = demanded ? 'tool_choice' : 'response_format';
  if (grammars === null) {
    const message = `'${param}' needs grammars, which --no-grammars has switched off`;
    throw badRequest('unsupported_parameter', message, param);
  }
  try {
    const { opening, format } = demanded
      ? callsOf(request, toolFormat)
      : { opening: '', format: formatOf(request.responseFormat) };
    const after = { type: 'sequence', elements: [thought, format] } as const;
    const form = {
      opening: opening === '' ? [] : tokenizer.encode(opening),
      format: thinking && opening === '' ? after : format,
    };
    // What the engine does not take is told before anything is answered.
    (await grammars.open(form.format)).close();
    return form;
  } catch (error) {
    if (!(error instanceof GrammarError)) throw error;
    throw badRequest('invalid_value', error.message, param);
  }
}

/** What a template has opened is thought to its end first. */
const thought = {
  type: 'tag',
  begin: '',
  content: { type: 'any_text' },
  end: '</think>',
} as const;

/** What a response format other than text asks for. @throws GrammarError */
function formatOf(format: ChatRequest['responseFormat']): GrammarFormat {
  const schema = format.type === 'json_schema' ? format.schema : { type: 'object' };
  return jsonFormat(checkedSchema(schema, 'schema'));
}

function callsOf(
  {
    toolChoice,
    tools,
    parallelToolCalls,
  }: Pick<ChatRequest, 'toolChoice' | 'tools' | 'parallelToolCalls'>,
  format: ToolFormat | null,
) {
  const isNamed = typeof toolChoice === 'object';
  const wanted = isNamed ? tools.filter((tool) => tool.function.name === toolChoice.name) : tools;
  const chosen = wanted.map(withCheckedParameters);
  const grammar = format && toolCallGrammar(format, chosen, parallelToolCalls && !isNamed);
  if (grammar) return grammar;
  throw new GrammarError(
    'the model writes calls of tools in a form in which none of several can be demanded: name one',
  );
}

function withCheckedParameters(tool: ChatTool): ChatTool {
  const { name, parameters } = tool.function;
  if (parameters === undefined) return tool;
  const checked = checkedSchema(parameters, `${name}.parameters`) as Record<string, unknown>;
  return { ...tool, function: { ...tool.function, parameters: checked } };
}
