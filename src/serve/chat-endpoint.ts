/** `/v1/chat/completions`. */

import { renderChat } from '../chat/chat.ts';
import type { ChatTemplates } from '../chat/chat-templates.ts';
import type { ChatTool } from '../chat/messages.ts';
import {
  hasSpecialMarks,
  type ToolFormat,
  toolCallGrammar,
  toolFormatOf,
} from '../chat/tool-calls.ts';
import type { GrammarFormat } from '../grammar/format.ts';
import { GrammarError } from '../grammar/grammars.ts';
import { checkedSchema } from '../grammar/schema-check.ts';
import { jsonFormat } from '../grammar/schema-rules.ts';
import {
  type ChatChoice,
  type ChatChunkChoice,
  type ChatFinish,
  chatChunk,
  chatObject,
} from '../openai/chat-answer.ts';
import { type ChatRequest, readChatRequest } from '../openai/chat-request.ts';
import { samplerSeed } from '../openai/generation-fields.ts';
import { promptIdsFor, tokensWithin } from '../openai/prompt-room.ts';
import { badRequest } from '../openai/refusal.ts';
import {
  callAt,
  checkTold,
  notesOf,
  randomSeed,
  type SilentCall,
  telling,
  usageOf,
  usualTopK,
} from './answering.ts';
import { ChatAssembler } from './chat-assembler.ts';
import { EventStream } from './event-stream.ts';
import { type Exchange, sendJson } from './exchange.ts';
import type { AnswerForm, ModelService, ServedAnswer } from './service.ts';
import { chatLogprobs, type DrawnToken } from './token-probabilities.ts';

/** What an answer is made from. */
interface Prepared {
  readonly request: ChatRequest;
  readonly call: SilentCall;
  readonly promptText: string;
  readonly toolFormat: ToolFormat | null;
  /** Whether thoughts are told apart. */
  readonly thinks: boolean;
}

export class ChatEndpoint {
  readonly #service: ModelService;
  readonly #templates: ChatTemplates | null;

  /** @param templates null where the model has none */
  constructor(service: ModelService, templates: ChatTemplates | null) {
    this.#service = service;
    this.#templates = templates;
  }

  async answer(exchange: Exchange): Promise<void> {
    const request = readChatRequest(await exchange.body(), usualTopK);
    const leave = this.#service.queue.admit();
    try {
      const prepared = await this.#prepare(request, exchange);
      if (request.stream) await this.#stream(exchange, prepared);
      else await this.#whole(exchange, prepared);
    } finally {
      leave();
    }
  }

  async #prepare(request: ChatRequest, { signal }: Exchange): Promise<Prepared> {
    const service = this.#service;
    const { model } = service.runtime;
    const templates = this.#templates;
    if (templates === null) {
      const message =
        'the model has no chat template: use /v1/completions, or give a template with --template';
      throw badRequest('unsupported_parameter', message, 'messages');
    }
    const { messages, variables } = request;
    const tools = request.tools.length === 0 ? undefined : request.tools;
    const toolFormat = tools === undefined ? null : formatFor(templates);
    let promptText = '';
    const promptIds = await promptIdsFor(service, 'messages', async () => {
      const prompt = await renderChat(model, messages, { templates, tools, variables, signal });
      promptText = prompt.text;
      return prompt.ids;
    });
    const thinking = promptText.lastIndexOf('<think>') > promptText.lastIndexOf('</think>');
    const form = await this.#formOf(request, toolFormat, thinking);
    const { sampling, n, logprobs, stream } = request;
    const maxTokens = tokensWithin(service, promptIds.length, request.maxTokens, service.context);
    if (!stream || toolFormat !== null) checkTold(n, maxTokens, logprobs);
    const call = {
      promptIds,
      maxTokens,
      sampling: { ...sampling, seed: samplerSeed(sampling.seed ?? randomSeed()) },
      stop: request.stop,
      steering: request,
      form,
      keepSpecial: toolFormat !== null && hasSpecialMarks(toolFormat),
      signal,
    };
    return { request, call, promptText, toolFormat, thinks: form === null || thinking };
  }

  /** What the answer is held to; null where it is free. */
  async #formOf(
    { responseFormat, toolChoice, tools, parallelToolCalls }: ChatRequest,
    toolFormat: ToolFormat | null,
    thinking: boolean,
  ): Promise<AnswerForm | null> {
    const { grammars, runtime } = this.#service;
    const demanded = toolChoice === 'required' || typeof toolChoice === 'object';
    const isFree = !demanded && responseFormat.type === 'text';
    if (isFree) return null;
    const param = demanded ? 'tool_choice' : 'response_format';
    if (grammars === null) {
      const message = `'${param}' needs grammars, which --no-grammars has switched off`;
      throw badRequest('unsupported_parameter', message, param);
    }
    try {
      const { opening, format } = demanded
        ? callsOf({ toolChoice, tools, parallelToolCalls }, toolFormat)
        : { opening: '', format: formatOf(responseFormat) };
      const after = { type: 'sequence', elements: [thought, format] } as const;
      const form = {
        opening: opening === '' ? [] : runtime.model.tokenizer.encode(opening),
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

  async #whole({ response, id, notes }: Exchange, prepared: Prepared): Promise<void> {
    const { request, call } = prepared;
    const service = this.#service;
    const assemblers = Array.from(
      { length: request.n },
      () => new ChatAssembler(assemblerOptions(prepared)),
    );
    const drawn = assemblers.map((): DrawnToken[] => []);
    const answers = await service.answers(request.n, (index) => ({
      ...callAt(call, index),
      onText: (text, told) => {
        assemblers[index]?.push(text);
        drawn[index]?.push(...told);
      },
    }));
    const choices = answers.map((answer, index): ChatChoice => {
      const assembler = assemblers[index] as ChatAssembler;
      assembler.finish();
      const { content, reasoning, calls } = assembler;
      return {
        index,
        message: {
          role: 'assistant',
          content: content === '' && calls.length > 0 ? null : content,
          refusal: null,
          ...(reasoning === '' ? {} : { reasoning_content: reasoning }),
          ...(calls.length === 0 ? {} : { tool_calls: calls }),
        },
        logprobs: this.#logprobs(request, [...(drawn[index] ?? []), ...answer.drawn]),
        finish_reason: finishOf(answer, assembler),
      };
    });
    notes.push(...notesOf(answers));
    sendJson(response, 200, chatObject(id, choices, usageOf(answers), service.answerer));
  }

  async #stream({ response, id, notes }: Exchange, prepared: Prepared): Promise<void> {
    const { request, call } = prepared;
    const service = this.#service;
    const stream = new EventStream(response);
    const usage = request.includeUsage ? null : undefined;
    const send = (choice: ChatChunkChoice) =>
      stream.send(chatChunk(id, [choice], usage, service.answerer));
    const add = (index: number, delta: ChatChunkChoice['delta'], told: readonly DrawnToken[]) =>
      send({ index, delta, logprobs: this.#logprobs(request, told), finish_reason: null });
    const assemblers = Array.from(
      { length: request.n },
      () => new ChatAssembler(assemblerOptions(prepared)),
    );
    assemblers.forEach((_, index) => {
      add(index, { role: 'assistant', content: '' }, []);
    });
    /** Of each answer, what is told of tokens that nothing was sent for yet. */
    const held = assemblers.map((): DrawnToken[] => []);
    const sendDeltas = (index: number, deltas: readonly ChatChunkChoice['delta'][]) => {
      for (const delta of deltas) add(index, delta, held[index]?.splice(0) ?? []);
    };
    const answers = await telling(stream, () =>
      service.answers(request.n, (index) => ({
        ...callAt(call, index),
        onText: (text, told) => {
          held[index]?.push(...told);
          sendDeltas(index, assemblers[index]?.push(text) ?? []);
        },
      })),
    );
    answers.forEach((answer, index) => {
      const assembler = assemblers[index] as ChatAssembler;
      held[index]?.push(...answer.drawn);
      sendDeltas(index, assembler.finish());
      const rest = this.#logprobs(request, held[index]?.splice(0) ?? []);
      send({ index, delta: {}, logprobs: rest, finish_reason: finishOf(answer, assembler) });
    });
    notes.push(...notesOf(answers));
    if (request.includeUsage) stream.send(chatChunk(id, [], usageOf(answers), service.answerer));
    stream.end();
  }

  #logprobs({ logprobs }: ChatRequest, drawn: readonly DrawnToken[]): object | null {
    return logprobs === null ? null : chatLogprobs(this.#service.runtime.model.tokenizer, drawn);
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

/** The form in which a model writes calls. @throws Refusal where its template has none that is known */
function formatFor(templates: ChatTemplates): ToolFormat {
  const format = toolFormatOf(templates.choose(true).source);
  if (format !== null) return format;
  const message = "the model's chat template has no tools, or none in a form that is known";
  throw badRequest('unsupported_parameter', message, 'tools');
}

function assemblerOptions({ request, promptText, toolFormat, thinks }: Prepared) {
  const toolNames = request.tools.map((tool) => tool.function.name);
  return { prompt: promptText, toolFormat, toolNames, thinks };
}

function finishOf({ finishReason }: ServedAnswer, { calls }: ChatAssembler): ChatFinish {
  return calls.length > 0 ? 'tool_calls' : finishReason;
}
