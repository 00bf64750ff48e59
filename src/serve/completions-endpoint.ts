/** `/v1/completions`. */

import { type CompletionChoice, completionObject } from '../openai/completion.ts';
import { readServedCompletion, type ServedCompletionRequest } from '../openai/completions.ts';
import { samplerSeed } from '../openai/generation-fields.ts';
import { encodePromptOrIds, promptIdsFor, tokensWithin } from '../openai/prompt-room.ts';
import { badRequest } from '../openai/refusal.ts';
import { completionLogprobs, type DrawnToken } from '../openai/token-probabilities.ts';
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

/** The API's default for `max_tokens`. */
const usualTokens = 16;

export class CompletionsEndpoint {
  readonly #service: ModelService;

  constructor(service: ModelService) {
    this.#service = service;
  }

  async answer(exchange: Exchange): Promise<void> {
    const request = readServedCompletion(await exchange.body());
    if (request.echo && request.logprobs !== null) {
      const message =
        "'echo' with 'logprobs' is not supported: probabilities of prompt tokens are not computed";
      throw badRequest('unsupported_parameter', message, 'echo');
    }
    const leave = this.#service.queue.admit();
    try {
      const call = await this.#prepare(request, exchange.signal);
      if (request.stream) await this.#stream(exchange, request, call);
      else await this.#whole(exchange, request, call);
    } finally {
      leave();
    }
  }

  async #prepare(request: ServedCompletionRequest, signal: AbortSignal): Promise<SilentCall> {
    const service = this.#service;
    const { tokenizer } = service.runtime.model;
    const { prompt, sampling, stop, maxTokens } = request;
    const promptIds = await promptIdsFor(service, 'prompt', () =>
      encodePromptOrIds(tokenizer, prompt, service.context, signal),
    );
    const most = tokensWithin(service, promptIds.length, maxTokens, usualTokens);
    if (!request.stream) checkTold(request.n, most, request.logprobs);
    return {
      promptIds,
      maxTokens: most,
      sampling: { ...sampling, seed: samplerSeed(sampling.seed ?? randomSeed()) },
      stop,
      steering: request,
      form: null,
      keepSpecial: false,
      signal,
    };
  }

  async #whole(
    { response, id, notes }: Exchange,
    request: ServedCompletionRequest,
    call: SilentCall,
  ): Promise<void> {
    const service = this.#service;
    const drawn = Array.from({ length: request.n }, (): DrawnToken[] => []);
    const answers = await service.answers(request.n, (index) => ({
      ...callAt(call, index),
      onText: (_, told) => drawn[index]?.push(...told),
    }));
    const before = this.#echoOf(request);
    const choices = answers.map(
      ({ text, finishReason, drawn: last }, index): CompletionChoice => ({
        text: before + text,
        index,
        logprobs: this.#logprobs(request, [...(drawn[index] ?? []), ...last], 0),
        finishReason,
      }),
    );
    notes.push(...notesOf(answers));
    sendJson(response, 200, completionObject(id, choices, usageOf(answers), service.answerer));
  }

  async #stream(
    { response, id, notes }: Exchange,
    request: ServedCompletionRequest,
    call: SilentCall,
  ): Promise<void> {
    const service = this.#service;
    const { answerer } = service;
    const stream = new EventStream(response);
    const send = (choice: CompletionChoice) =>
      stream.send(completionObject(id, [choice], null, answerer));
    const before = this.#echoOf(request);
    const lengths = Array.from({ length: request.n }, () => 0);
    const add = (index: number, text: string, told: readonly DrawnToken[]) => {
      const logprobs = this.#logprobs(request, told, lengths[index] ?? 0);
      lengths[index] = (lengths[index] ?? 0) + text.length;
      send({ text, index, logprobs, finishReason: null });
    };
    if (before !== '') lengths.forEach((_, index) => void add(index, before, []));
    const answers = await telling(stream, () =>
      service.answers(request.n, (index) => ({
        ...callAt(call, index),
        onText: (text, told) => add(index, text, told),
      })),
    );
    answers.forEach(({ finishReason, drawn }, index) => {
      const logprobs = this.#logprobs(request, drawn, lengths[index] ?? 0);
      send({ text: '', index, logprobs, finishReason });
    });
    notes.push(...notesOf(answers));
    if (request.includeUsage) {
      stream.send(completionObject(id, [], usageOf(answers), answerer));
    }
    stream.end();
  }

  #echoOf({ echo, prompt }: ServedCompletionRequest): string {
    if (!echo) return '';
    return typeof prompt === 'string'
      ? prompt
      : this.#service.runtime.model.tokenizer.decode(prompt);
  }

  #logprobs(
    { logprobs }: ServedCompletionRequest,
    drawn: readonly DrawnToken[],
    offset: number,
  ): object | null {
    if (logprobs === null) return null;
    return completionLogprobs(this.#service.runtime.model.tokenizer, drawn, offset);
  }
}
