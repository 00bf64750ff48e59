/** `/v1/chat/completions`: the answer objects. */

import type { Answerer } from './answerer.ts';
import { createdNow } from './usage.ts';

/** A tool call in the API's form. */
export interface CallObject {
  readonly id: string;
  readonly type: 'function';
  readonly function: { readonly name: string; readonly arguments: string };
}

export type ChatFinish = 'stop' | 'length' | 'tool_calls';

/** The contents of an answer, or what a part of a stream adds to it. */
export interface ChatDelta {
  readonly role?: 'assistant';
  readonly content?: string;
  readonly reasoning_content?: string;
  readonly tool_calls?: readonly (CallObject & { readonly index: number })[];
}

/** One of the answers. */
export interface ChatChoice {
  readonly index: number;
  readonly message: {
    readonly role: 'assistant';
    readonly content: string | null;
    readonly refusal: null;
    readonly reasoning_content?: string;
    readonly tool_calls?: readonly CallObject[];
  };
  readonly logprobs: object | null;
  readonly finish_reason: ChatFinish;
}

/** A part of one of the answers in a stream. */
export interface ChatChunkChoice {
  readonly index: number;
  readonly delta: ChatDelta;
  readonly logprobs: object | null;
  /** Null except in the last part. */
  readonly finish_reason: ChatFinish | null;
}

/** The answer object of a request; `id` is given without the API's prefix. */
export function chatObject(
  id: string,
  choices: readonly ChatChoice[],
  usage: object,
  by: Answerer,
): object {
  return { ...headOf(id, 'chat.completion', by), choices, usage };
}

/** A part of a stream; without `usage` if it is undefined. */
export function chatChunk(
  id: string,
  choices: readonly ChatChunkChoice[],
  usage: object | null | undefined,
  by: Answerer,
): object {
  return {
    ...headOf(id, 'chat.completion.chunk', by),
    choices,
    ...(usage === undefined ? {} : { usage }),
  };
}

function headOf(id: string, object: string, { model, fingerprint }: Answerer) {
  return {
    id: `chatcmpl-${id}`,
    object,
    created: createdNow(),
    model,
    system_fingerprint: fingerprint,
  };
}
