/** Where the tokens of a generation come from, one after the other. */

import type { LogitsWanted } from './forward-options.ts';
import type { Sampler } from './sampler.ts';
import type { Sequence } from './sequence.ts';
import type { DraftFigures } from './speculation/proposal.ts';
import type { RunRecorder } from './stats.ts';
import type { TokenGuide } from './token-guide.ts';

export interface TokenSource {
  /**
   * Returns the token after `ids`; all of these except the last are in the sequence.
   * @param most the most tokens that will be requested, including this one
   */
  next(ids: readonly number[], most: number): Promise<number>;
  /** Truncates or completes the sequence to the tokens that were asked for, also after a failure. */
  end(): void;
  /** The outcome of proposals; null where there are none. */
  readonly figures: DraftFigures | null;
}

export interface SourceParts {
  readonly sequence: Sequence;
  readonly sampler: Sampler;
  readonly recorder: RunRecorder;
  /** The logits that a token is drawn from. */
  readonly wanted: LogitsWanted;
  readonly guide?: TokenGuide | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Draws a token with sampler and guide.
 * @param logits (vocab), which both may change
 * @param ids of the text so far
 */
export async function drawToken(
  { sampler, guide }: Pick<SourceParts, 'sampler' | 'guide'>,
  logits: Float32Array,
  ids: readonly number[],
): Promise<number> {
  if (guide !== undefined) await guide.prepare(logits);
  const token = sampler.sample(logits, ids);
  guide?.drawn(token);
  return token;
}

/** A pass for each token. */
export class SingleTokens implements TokenSource {
  readonly figures = null;
  readonly #parts: SourceParts;

  constructor(parts: SourceParts) {
    this.#parts = parts;
  }

  async next(ids: readonly number[]): Promise<number> {
    const { sequence, recorder, wanted, signal } = this.#parts;
    const last = ids.slice(-1);
    const logits = await recorder.decode(() =>
      sequence.forward(last, wanted, signal && { signal }),
    );
    return drawToken(this.#parts, logits, ids);
  }

  end(): void {}
}
