/** The required form of a chat answer: a JSON schema, or forced tool calls. */

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
  /** Null if grammars are disabled. */
  readonly grammars: Grammars | null;
  readonly toolFormat: ToolFormat | null;
  /** Whether the template has opened the reasoning. */
  readonly thinking: boolean;
}

/**
 * The required form of the answer; null if there is none.
 * @throws Refusal when the engine refuses the grammar, or grammars are disabled
 */
export async function formOf(request: ChatRequest, parts: FormParts): Promise<AnswerForm | null> {
  const { grammars, tokenizer, toolFormat, thinking } = parts;
  if (!needsGrammar(request)) return null;
  const demanded = demandsCall(request);
  const param = demanded ? 'tool_choice' : 'response_format';
  if (grammars === null) {
    const message = `'${param}' needs grammars, which --no-grammars has disabled`;
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
    // A grammar that the engine refuses is reported before anything is generated.
    (await grammars.open(form.format)).close();
    return form;
  } catch (error) {
    if (!(error instanceof GrammarError)) throw error;
    throw badRequest('invalid_value', error.message, param);
  }
}

/** If the template has opened the reasoning, the model finishes that first. */
const thought = {
  type: 'tag',
  begin: '',
  content: { type: 'any_text' },
  end: '</think>',
} as const;

/** The format of a response format other than text. @throws GrammarError */
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
    "the model's form of tool calls cannot force a choice among several tools: name one tool",
  );
}

function withCheckedParameters(tool: ChatTool): ChatTool {
  const { name, parameters } = tool.function;
  if (parameters === undefined) return tool;
  const checked = checkedSchema(parameters, `${name}.parameters`) as Record<string, unknown>;
  return { ...tool, function: { ...tool.function, parameters: checked } };
}
