/** Lines for `/v1/completions`. */

import { isJsonObject } from '../checkpoint/json-file.ts';
import { logitsThatDecide } from '../engine/sampler.ts';
import { completionBody } from '../openai/completion.ts';
import { type CompletionRequest, readCompletionRequest } from '../openai/completions.ts';
import type { Body, NeutralValues } from '../openai/fields.ts';
import { promptIdsFor, tokensWithin } from '../openai/prompt-room.ts';
import { type Answer, type AnswerHow, addedTokens, type Call } from './call.ts';
import type { Engine } from './engine.ts';

/** Unsupported fields that would change the result, each with the value that has no effect. */
const notOfBatches: NeutralValues = {
  n: (value) => value === 1,
  best_of: (value) => value === 1,
  echo: (value) => value === false,
  stream: (value) => value === false,
  stream_options: () => false,
  logprobs: () => false,
  suffix: (value) => value === '',
  logit_bias: (value) => isJsonObject(value) && Object.keys(value).length === 0,
  presence_penalty: (value) => value === 0,
  frequency_penalty: (value) => value === 0,
};

/** @throws Refusal that names the field at fault */
export function completionCall(body: Body): Call {
  const request = readCompletionRequest(body, notOfBatches);
  const { prompt, sampling } = request;
  return {
    request,
    // A token has at least a byte.
    needs: async () => ({
      promptTokens:
        typeof prompt === 'string' ? Buffer.byteLength(prompt) + addedTokens : prompt.length,
      bestLogits: logitsThatDecide(sampling),
      template: false,
      grammar: false,
      answers: 1,
    }),
    answer: (engine, how) => complete(engine, request, how),
  };
}

async function complete(
  engine: Engine,
  request: CompletionRequest,
  { usualTokens, seed, signal, onTokens }: AnswerHow,
): Promise<Answer> {
  const encode = () => engine.encode(request.prompt, signal);
  const promptIds = await promptIdsFor(engine, 'prompt', encode);
  const maxTokens = tokensWithin(engine, promptIds.length, request.maxTokens, usualTokens);
  const completion = await engine.complete({
    promptIds,
    maxTokens,
    sampling: { ...request.sampling, seed },
    stop: request.stop,
    signal,
    onTokens: (tokens) => onTokens(tokens, maxTokens),
  });
  const { promptTokens, tokens } = completion;
  return { promptTokens, tokens, body: (id, by) => completionBody(id, completion, by) };
}
