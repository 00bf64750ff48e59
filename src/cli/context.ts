/** How many positions a conversation gets. */

import type { Model } from '../engine/model.ts';
import type { RunRequest } from '../engine/run-request.ts';
import { BudgetError, InputError } from '../errors.ts';
import { note } from './terminal.ts';

/** Default limit for the positions of a conversation: some pages of text, without taking all of the memory. */
export const usualContext = 4096;
/** The fewest positions that a small budget reduces the default to: less holds no conversation. */
const leastContext = 256;

/**
 * The numbers of positions to try for a conversation, the most first: the requested number alone, or the
 * default, half of it, a quarter and so on.
 * @param most positions that the model has
 * @throws InputError when more are asked for
 */
export function contextsOf(
  asked: number | undefined,
  most: number,
): readonly [number, ...number[]] {
  if (asked === undefined) {
    const usual = Math.min(usualContext, most);
    const halves: number[] = [];
    for (let half = usual >> 1; half >= leastContext; half >>= 1) halves.push(half);
    return [usual, ...halves];
  }
  if (asked >= 1 && asked <= most) return [asked];
  throw new InputError(`--context must be from 1 to ${most}, the positions that the model has`);
}

/**
 * The first of several requests, which differ in their contexts, that fits the budget. Prints its context if it
 * is not that of the first.
 * @param complete adds what else takes memory, such as a draft
 * @throws BudgetError of the last one, where none fits
 */
export function firstThatFits(
  model: Model,
  requests: readonly [RunRequest, ...RunRequest[]],
  complete: (request: RunRequest) => RunRequest = (request) => request,
): RunRequest {
  const [first, ...shorter] = requests;
  // Opening the runtime plans a single request anyway.
  if (shorter.length === 0) return complete(first);
  let refusal: BudgetError | null = null;
  for (const request of requests) {
    const found = fitting(model, () => complete(request));
    if (found instanceof BudgetError) {
      refusal = found;
      continue;
    }
    if (request !== first) {
      note(
        `context of ${request.context} positions, as the budget has no room for ${first.context}; ` +
          'set it with --context (fewer leave more for weights)',
      );
    }
    return found;
  }
  throw refusal ?? new RangeError('no request');
}

/** The request, or why it does not fit. */
function fitting(model: Model, requestOf: () => RunRequest): RunRequest | BudgetError {
  try {
    const request = requestOf();
    model.plan(request);
    return request;
  } catch (error) {
    if (error instanceof BudgetError) return error;
    throw error;
  }
}
