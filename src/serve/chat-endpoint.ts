/** `/v1/chat/completions`. */

import type { ChatTemplates } from '../chat/chat-templates.ts';
import { type ChatChunkChoice, chatChunk, chatObject } from '../openai/chat-answer.ts';
import type { ChatAssembler } from '../openai/chat-assembler.ts';
import { type PreparedChat, prepareChat } from '../openai/chat-prompt.ts';
import { type ChatRequest, readChatRequest } from '../openai/chat-request.ts';
import { samplerSeed } from '../openai/generation-fields.ts';
import { chatLogprobs, type DrawnToken } from '../openai/token-probabilities.ts';
import {
  callAt,
  checkTold,
  notesOf,
  randomSeed,
  type SilentCall,
  telling,
  usageOf,
} from './answering.ts';
import { EventStream } from './event-stream.ts';
import { type Exchange, sendJson } from './exchange.ts';
import type { ModelService } from './service.ts';

/** A request that is ready to be answered. */
interface Prepared {
  readonly request: ChatRequest;
  readonly call: SilentCall;
  readonly prepared: PreparedChat;
}

export class ChatEndpoint {
  readonly #service: ModelService;
  readonly #templates: ChatTemplates | null;

  /** @param templates null if the model has none */
  constructor(service: ModelService, templates: ChatTemplates | null) {
    this.#service = service;
    this.#templates = templates;
  }

  async answer(exchange: Exchange): Promise<void> {
    const request = readChatRequest(await exchange.body());
    const leave = this.#service.queue.admit();
    try {
      const ready = await this.#prepare(request, exchange);
      if (request.stream) await this.#stream(exchange, ready);
      else await this.#whole(exchange, ready);
    } finally {
      leave();
    }
  }

  async #prepare(request: ChatRequest, { signal }: Exchange): Promise<Prepared> {
    const service = this.#service;
    const { grammars, context } = service;
    const { model } = service.runtime;
    const parts = { model, templates: this.#templates, grammars, contexts: service };
    const { sampling, n, logprobs, stream, stop } = request;
    const prepared = await prepareChat(request, parts, { usualTokens: context, signal });
    const { maxTokens, toolFormat, answer } = prepared;
    if (!stream || toolFormat !== null) checkTold(n, maxTokens, logprobs);
    const call = {
      ...answer,
      maxTokens,
      sampling: { ...sampling, seed: samplerSeed(sampling.seed ?? randomSeed()) },
      stop,
      steering: request,
      signal,
    };
    return { request, call, prepared };
  }

  async #whole({ response, id, notes }: Exchange, ready: Prepared): Promise<void> {
    const { request, call, prepared } = ready;
    const service = this.#service;
    const assemblers = Array.from({ length: request.n }, prepared.assembler);
    const drawn = assemblers.map((): DrawnToken[] => []);
    const answers = await service.answers(request.n, (index) => ({
      ...callAt(call, index),
      onText: (text, told) => {
        assemblers[index]?.push(text);
        drawn[index]?.push(...told);
      },
    }));
    const choices = answers.map((answer, index) => {
      const logprobs = this.#logprobs(request, [...(drawn[index] ?? []), ...answer.drawn]);
      return (assemblers[index] as ChatAssembler).choice(index, answer, logprobs);
    });
    notes.push(...notesOf(answers));
    sendJson(response, 200, chatObject(id, choices, usageOf(answers), service.answerer));
  }

  async #stream({ response, id, notes }: Exchange, ready: Prepared): Promise<void> {
    const { request, call, prepared } = ready;
    const service = this.#service;
    const stream = new EventStream(response);
    const usage = request.includeUsage ? null : undefined;
    const send = (choice: ChatChunkChoice) =>
      stream.send(chatChunk(id, [choice], usage, service.answerer));
    const add = (index: number, delta: ChatChunkChoice['delta'], told: readonly DrawnToken[]) =>
      send({ index, delta, logprobs: this.#logprobs(request, told), finish_reason: null });
    const assemblers = Array.from({ length: request.n }, prepared.assembler);
    assemblers.forEach((_, index) => {
      add(index, { role: 'assistant', content: '' }, []);
    });
    /** For each answer, the probabilities of tokens whose text has not been sent yet. */
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
      send({ index, delta: {}, logprobs: rest, finish_reason: assembler.finishOf(answer) });
    });
    notes.push(...notesOf(answers));
    if (request.includeUsage) stream.send(chatChunk(id, [], usageOf(answers), service.answerer));
    stream.end();
  }

  #logprobs({ logprobs }: ChatRequest, drawn: readonly DrawnToken[]): object | null {
    return logprobs === null ? null : chatLogprobs(this.#service.runtime.model.tokenizer, drawn);
  }
}
