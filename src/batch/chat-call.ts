/** Lines for `/v1/chat/completions`. */

import { logitsThatDecide } from '../engine/sampler.ts';
import { InputError } from '../errors.ts';
import { GrammarError } from '../grammar/grammars.ts';
import { steers } from '../openai/answer-guide.ts';
import { type ChatChoice, chatObject } from '../openai/chat-answer.ts';
import { type ChatRequest, needsGrammar, readChatRequest } from '../openai/chat-request.ts';
import type { Body, NeutralValues } from '../openai/fields.ts';
import { seedAt } from '../openai/generation-fields.ts';
import { badRequest, Refusal } from '../openai/refusal.ts';
import { usageObject } from '../openai/usage.ts';
import {
  type Answer,
  type AnswerHow,
  addedTokens,
  type Call,
  type MeasureChat,
  type Needs,
} from './call.ts';
import type { Engine } from './engine.ts';

/** Fields that only a server supports, each with the value that has no effect. */
const notOfBatches: NeutralValues = {
  stream: (value) => value === false,
  stream_options: () => false,
  logprobs: (value) => value === false,
  top_logprobs: () => false,
};

/** @throws Refusal that names the field at fault */
export function chatCall(body: Body): Call {
  const request = readChatRequest(body, notOfBatches);
  return {
    request,
    needs: (measure) => needsOf(request, measure),
    answer: (engine, how) => answerChat(engine, request, how),
  };
}

async function needsOf(request: ChatRequest, measure: MeasureChat): Promise<Needs> {
  const grammar = needsGrammar(request);
  // A token has at least a byte.
  const textBytes = await measure(request).catch((error: unknown) => {
    // Such a line is refused later, when its turn comes.
    if (error instanceof Refusal || error instanceof InputError) return 0;
    throw error;
  });
  const guided = grammar || steers(request);
  return {
    promptTokens: addedTokens + textBytes,
    bestLogits: guided ? null : logitsThatDecide(request.sampling),
    template: true,
    grammar,
    answers: request.n,
  };
}

/** Generates one answer after the other: each needs a sequence, and a line has only one. */
async function answerChat(
  engine: Engine,
  request: ChatRequest,
  { usualTokens, seed, signal, onTokens }: AnswerHow,
): Promise<Answer> {
  const { n, sampling, stop } = request;
  const { answer, maxTokens, assembler } = await engine.prepareChat(request, {
    usualTokens,
    signal,
  });
  let [promptTokens, tokens] = [0, 0];
  const choices: ChatChoice[] = [];
  for (let index = 0; index < n; index++) {
    const before = tokens;
    const completion = await engine
      .complete({
        ...answer,
        maxTokens,
        sampling: { ...sampling, seed: seedAt(seed, index) },
        stop,
        steering: request,
        signal,
        onTokens: (made) => onTokens(before + made, n * maxTokens),
      })
      .catch(refuseGrammar);
    promptTokens = completion.promptTokens;
    tokens += completion.tokens;
    const assembled = assembler();
    assembled.push(completion.text);
    choices.push(assembled.choice(index, completion, null));
  }
  const usage = usageObject({ promptTokens, tokens });
  return { promptTokens, tokens, body: (id, by) => chatObject(id, choices, usage, by) };
}

/** A grammar that fails during generation is the line's fault. */
function refuseGrammar(error: unknown): never {
  if (!(error instanceof GrammarError)) throw error;
  throw badRequest('invalid_value', error.message, null);
}
