/** Probabilities of drawn tokens as the model computed them: before bans, penalties and temperature. */

import type { Tokenizer } from '../tokenizer/tokenizer.ts';
import { topIds } from '../top-ids.ts';

/** A token with the natural logarithm of its probability. */
export interface LikelyToken {
  readonly id: number;
  readonly logprob: number;
}

/** A drawn token, and the most likely alternatives. */
export interface DrawnToken extends LikelyToken {
  readonly top: readonly LikelyToken[];
}

/** The least logarithm: JSON cannot express -Infinity. */
const leastLogprob = -9999;

/** Records logits, and computes the probabilities of the token drawn from them. */
export class TokenProbabilities {
  readonly #top: number;
  #logits: Float32Array | null = null;
  #total = 0;
  #best: readonly LikelyToken[] = [];

  /** @param top how many of the most likely tokens are reported */
  constructor(top: number) {
    this.#top = top;
  }

  /** Keeps the logits (vocab) of the next token, before anything changes them. */
  look(logits: Float32Array): void {
    this.#logits ??= new Float32Array(logits.length);
    this.#logits.set(logits);
    let largest = Number.NEGATIVE_INFINITY;
    for (const logit of logits) if (logit > largest) largest = logit;
    let sum = 0;
    for (const logit of logits) sum += Math.exp(logit - largest);
    this.#total = largest + Math.log(sum);
    const ids = this.#top === 0 ? [] : [...topIds(logits, Math.min(this.#top, logits.length))];
    this.#best = ids.map((id) => this.#of(id));
  }

  /** The probabilities of a token that was drawn from the last recorded logits. */
  drawn(id: number): DrawnToken {
    return { ...this.#of(id), top: this.#best };
  }

  #of(id: number): LikelyToken {
    const logprob = (this.#logits?.[id] ?? Number.NEGATIVE_INFINITY) - this.#total;
    return { id, logprob: Math.max(leastLogprob, logprob) };
  }
}

/** The value of `logprobs` of a chat's answer, or of a part of it. */
export function chatLogprobs(tokenizer: Tokenizer, drawn: readonly DrawnToken[]): object {
  const describe = ({ id, logprob }: LikelyToken) => ({
    token: tokenizer.decode([id]),
    logprob,
    bytes: [...tokenizer.bytesOf(id)],
  });
  const content = drawn.map((token) => ({
    ...describe(token),
    top_logprobs: token.top.map(describe),
  }));
  return { content, refusal: null };
}

/**
 * The value of `logprobs` of a completion, or of a part of it.
 * @param offset of the part in the text, in UTF-16 units
 */
export function completionLogprobs(
  tokenizer: Tokenizer,
  drawn: readonly DrawnToken[],
  offset: number,
): object {
  const texts = drawn.map(({ id }) => tokenizer.decode([id]));
  let at = offset;
  const offsets = texts.map((text) => {
    at += text.length;
    return at - text.length;
  });
  return {
    tokens: texts,
    token_logprobs: drawn.map(({ logprob }) => logprob),
    top_logprobs: drawn.map(({ top }) =>
      Object.fromEntries(top.map(({ id, logprob }) => [tokenizer.decode([id]), logprob])),
    ),
    text_offset: offsets,
  };
}
