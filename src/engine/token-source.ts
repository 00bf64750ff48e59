/** Where the tokens of a generation come from, one after the other. */

import type { Sampler } from './sampler.ts';
import type { Sequence } from './sequence.ts';
import type { DraftFigures } from './speculation/proposal.ts';
import type { RunRecorder } from './stats.ts';

export interface TokenSource {
  /**
   * The token behind `ids`, of which all but the last are in the sequence.
   * @param most how many tokens will be asked for, this one included, at most
   */
  next(ids: readonly number[], most: number): Promise<number>;
  /** Has the sequence hold what was asked for and no more, whatever came of it. */
  end(): void;
  /** What is to be told of it; null where there is nothing. */
  readonly figures: DraftFigures | null;
}

export interface SourceParts {
  readonly sequence: Sequence;
  readonly sampler: Sampler;
  readonly recorder: RunRecorder;
  readonly signal?: AbortSignal | undefined;
}

/** A pass for each token. */
export class SingleTokens implements TokenSource {
  readonly figures = null;
  readonly #parts: SourceParts;

  constructor(parts: SourceParts) {
    this.#parts = parts;
  }

  async next(ids: readonly number[]): Promise<number> {
    const { sequence, sampler, recorder, signal } = this.#parts;
    const last = ids.slice(-1);
    const logits = await recorder.decode(() =>
      sequence.forward(last, sampler.wanted, signal && { signal }),
    );
    return sampler.sample(logits, ids);
  }

  end(): void {}
}
