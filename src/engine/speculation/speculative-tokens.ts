/**
 * Several tokens for one pass: a draft proposes, the model computes the last token and all proposals as
 * rows of one pass, and from each row's logits its own token is chosen, as ever. As long as that is the
 * one proposed, the next row is right, too:
 *
 *     ids ... t | a  b  c        proposed
 *     rows    t   a  b  c        one pass
 *     chosen  a   b  x           a and b accepted, x is new; the row of c is for nothing
 *
 * Every token is the one that it would have been alone, with the same number drawn for it: text and
 * distribution do not depend on what is proposed, nor on how much.
 */

import type { SourceParts, TokenSource } from '../token-source.ts';
import type { Draft, Drafter } from './draft.ts';
import type { Proposal } from './proposal.ts';

export interface SpeculativeParts extends SourceParts {
  readonly drafter: Drafter;
  readonly draft: Draft;
  /** Ids that end a text: nothing is proposed from them on. */
  readonly endIds: ReadonlySet<number>;
}

export class SpeculativeTokens implements TokenSource {
  readonly #parts: SpeculativeParts;
  /** Chosen, and not asked for yet. */
  #ahead: number[] = [];
  /** Positions that the sequence would hold without proposals. */
  #asked: number | null = null;
  readonly #figures = {
    ...{ proposed: 0, accepted: 0, passes: 0, passesWithout: 0, tokens: 0, draftMs: 0 },
  };

  constructor(parts: SpeculativeParts) {
    this.#parts = parts;
  }

  get figures() {
    return this.#figures;
  }

  async next(ids: readonly number[], most: number): Promise<number> {
    this.#asked = ids.length;
    if (this.#ahead.length === 0) {
      this.#ahead = await this.#parts.recorder.decode(() => this.#pass(ids, most));
    } else {
      this.#parts.recorder.token();
    }
    const token = this.#ahead.shift();
    if (token === undefined) throw new Error('a pass chose no token');
    return token;
  }

  end(): void {
    if (this.#asked !== null) this.#parts.sequence.rewind(this.#asked);
  }

  /** A pass over the last id and what is proposed to follow it. @returns the tokens chosen */
  async #pass(ids: readonly number[], most: number): Promise<number[]> {
    const { sequence, sampler, drafter, signal } = this.#parts;
    const figures = this.#figures;
    const started = performance.now();
    const proposals = await this.#propose(ids, Math.min(most, sequence.room) - 1);
    const draftMs = performance.now() - started;
    const taken = proposals.slice(0, drafter.control.worth(proposals));
    const before = sequence.length;
    const rows = [...ids.slice(-1), ...taken.map(({ token }) => token)];
    const each = rows.map((_, row) => sampler.wantedAfter(row));
    const { tokens, verified } = await sequence.verify(
      rows,
      { each },
      (logits) => this.#choose(logits, ids, taken),
      signal,
    );
    sequence.rewind(before + tokens.length);
    const accepted = tokens.length - 1;
    const totalMs = performance.now() - started;
    drafter.control.add({ proposals, verified, accepted, tokens, draftMs, totalMs });
    figures.passes++;
    if (verified === 0 && proposals.length > 0) figures.passesWithout++;
    figures.proposed += verified;
    figures.accepted += accepted;
    figures.tokens += tokens.length;
    figures.draftMs += draftMs;
    return tokens;
  }

  async #propose(ids: readonly number[], room: number): Promise<Proposal[]> {
    const { draft, drafter, endIds, signal } = this.#parts;
    const { control } = drafter;
    const proposals: Proposal[] = [];
    const most = Math.min(room, control.most);
    if (!control.goesOn(proposals, most)) return proposals;
    draft.start(ids);
    while (control.goesOn(proposals, most)) {
      const proposal = await draft.next(signal);
      // What ends a text is chosen without a row of its own.
      if (proposal === null || endIds.has(proposal.token)) break;
      proposals.push(proposal);
    }
    return proposals;
  }

  /**
   * Chooses from one row after the other until a proposal is not what is chosen.
   * @param logits (rows, vocab), of which the proposals may be more
   */
  #choose(
    logits: Float32Array,
    ids: readonly number[],
    proposals: readonly Proposal[],
  ): { readonly tokens: number[]; readonly verified: number } {
    const { sampler, sequence } = this.#parts;
    const { vocabSize } = sequence.runtime.model.manifest.spec;
    const rows = logits.length / vocabSize;
    const tokens: number[] = [];
    const context = {
      *[Symbol.iterator]() {
        yield* ids;
        yield* tokens;
      },
    };
    for (let row = 0; row < rows; row++) {
      const own = logits.subarray(row * vocabSize, (row + 1) * vocabSize);
      const token = sampler.sample(own, context);
      tokens.push(token);
      if (token !== proposals[row]?.token) break;
    }
    return { tokens, verified: rows - 1 };
  }
}
