/**
 * Several tokens for one pass: a draft proposes tokens, the model computes the last token and all proposals
 * as rows of one pass, and the sampler chooses a token from each row's logits as usual. As long as the chosen
 * token is the proposed one, the next row is right, too:
 *
 *     ids ... t | a  b  c        proposed
 *     rows    t   a  b  c        one pass
 *     chosen  a   b  x           a and b accepted, x is new; the row of c is for nothing
 *
 * Every token is the one that would be chosen without proposals, with the same random number: text and
 * distribution depend neither on the proposals nor on their number.
 */

import { drawToken, type SourceParts, type TokenSource } from '../token-source.ts';
import type { Draft, Drafter } from './draft.ts';
import { type DraftFigures, inTurn, type Proposal } from './proposal.ts';

export interface SpeculativeParts extends SourceParts {
  readonly drafter: Drafter;
  readonly draft: Draft;
  /** Ids that end a text: no token is proposed from them on. */
  readonly endIds: ReadonlySet<number>;
}

/** A pass from which tokens are chosen. */
interface Pass {
  /** Positions in the sequence before it. */
  readonly before: number;
  /** All proposals; the first `verified` of them have rows. */
  readonly proposals: readonly Proposal[];
  readonly verified: number;
  readonly tokens: number[];
  /** Of proposing. */
  readonly draftMs: number;
  readonly flashBytes: number;
  readonly totalMs: number;
}

export class SpeculativeTokens implements TokenSource {
  readonly #parts: SpeculativeParts;
  /** Tokens that were chosen but not yet returned. */
  #ahead: number[] = [];
  /** With a guide: a pass with unused rows, and its logits (verified + 1, vocab). */
  #kept: { readonly pass: Pass; readonly logits: Float32Array } | null = null;
  #buffer: Float32Array | null = null;
  /** Positions that the sequence would hold without proposals. */
  #asked: number | null = null;
  readonly #figures = {
    ...{
      proposed: 0,
      accepted: 0,
      passes: 0,
      passesWithout: 0,
      tokens: 0,
      draftMs: 0,
      flashBytes: 0,
    },
  };

  constructor(parts: SpeculativeParts) {
    this.#parts = parts;
  }

  get figures(): DraftFigures {
    return { ...this.#figures, retired: this.#parts.drafter.retirement?.closed ?? false };
  }

  async next(ids: readonly number[], most: number): Promise<number> {
    this.#asked = ids.length;
    const { recorder, guide } = this.#parts;
    const ahead = this.#ahead.length > 0 || this.#kept !== null;
    if (ahead) recorder.token();
    else await recorder.decode(() => this.#pass(ids, most));
    if (guide !== undefined) return this.#chooseNext(ids);
    const token = this.#ahead.shift();
    if (token === undefined) throw new Error('a pass chose no token');
    return token;
  }

  end(): void {
    if (this.#asked !== null) this.#parts.sequence.rewind(this.#asked);
  }

  /** Runs a pass over the last id and the proposals after it; chooses tokens, or keeps their logits. */
  async #pass(ids: readonly number[], most: number): Promise<void> {
    const { sequence, sampler, drafter, guide, signal } = this.#parts;
    await drafter.retirement?.review(signal);
    const started = performance.now();
    const bytesBefore = drafter.flashBytes;
    const proposals = await this.#propose(ids, Math.min(most, sequence.room) - 1);
    const draftMs = performance.now() - started;
    const flashBytes = drafter.flashBytes - bytesBefore;
    const taken = proposals.slice(0, drafter.control.worth(proposals));
    const before = sequence.length;
    const rows = [...ids.slice(-1), ...taken.map(({ token }) => token)];
    // A guide may prefer any token.
    const each = rows.map((_, row) => (guide ? 'last' : sampler.wantedAfter(row)));
    const { tokens, verified, logits } = await sequence.verify(
      rows,
      { each },
      (all) =>
        guide === undefined
          ? { ...this.#choose(all, ids, taken), logits: null }
          : { tokens: [], verified: all.length / this.#vocabSize - 1, logits: this.#keep(all) },
      signal,
    );
    const totalMs = performance.now() - started;
    const pass = { before, proposals, verified, tokens, draftMs, flashBytes, totalMs };
    if (logits !== null) {
      this.#kept = { pass, logits };
      return;
    }
    this.#ahead = [...tokens];
    this.#settle(pass);
  }

  async #propose(ids: readonly number[], room: number): Promise<Proposal[]> {
    const { draft, drafter, endIds, guide, sequence, signal } = this.#parts;
    const { control } = drafter;
    const { sequences } = sequence.runtime.plan.kvCache;
    // The plan has room for the logits that sequences keep, even if all of them are guided.
    const share = guide === undefined ? control.most : Math.floor(control.most / sequences);
    const proposals: Proposal[] = [];
    const most = Math.min(room, share);
    if (!control.goesOn(proposals, most)) return proposals;
    draft.start(ids);
    while (control.goesOn(proposals, most)) {
      const proposal = await draft.next(signal);
      // A token that ends a text needs no row of its own.
      if (proposal === null || endIds.has(proposal.token)) break;
      proposals.push(proposal);
    }
    return proposals;
  }

  /**
   * Chooses from one row after the other until the chosen token differs from the proposal.
   * @param logits (rows, vocab); there may be more proposals than rows
   */
  #choose(
    logits: Float32Array,
    ids: readonly number[],
    proposals: readonly Proposal[],
  ): Pick<Pass, 'tokens' | 'verified'> {
    const { sampler } = this.#parts;
    const rows = logits.length / this.#vocabSize;
    const tokens: number[] = [];
    const context = inTurn(ids, tokens);
    for (let row = 0; row < rows; row++) {
      const token = sampler.sample(this.#rowOf(logits, row), context);
      tokens.push(token);
      if (token !== proposals[row]?.token) break;
    }
    return { tokens, verified: rows - 1 };
  }

  /** Chooses from the next kept row, once the guide knows all tokens before it. */
  async #chooseNext(ids: readonly number[]): Promise<number> {
    const kept = this.#kept;
    if (kept === null) throw new Error('a pass left no logits');
    const { pass, logits } = kept;
    const row = pass.tokens.length;
    const token = await drawToken(this.#parts, this.#rowOf(logits, row), ids);
    pass.tokens.push(token);
    if (row >= pass.verified || token !== pass.proposals[row]?.token) {
      this.#kept = null;
      this.#settle(pass);
    }
    return token;
  }

  /** The logits of a pass, to last until the next one of this sequence. */
  #keep(logits: Float32Array): Float32Array {
    // With a single sequence, nothing overwrites the logits of a pass.
    if (this.#parts.sequence.runtime.plan.kvCache.sequences === 1) return logits;
    if (this.#buffer === null || this.#buffer.length < logits.length) {
      this.#buffer = new Float32Array(logits.length);
    }
    this.#buffer.set(logits);
    return this.#buffer.subarray(0, logits.length);
  }

  /** Drops the rows after the chosen tokens, and learns from the pass. */
  #settle({ before, proposals, verified, tokens, draftMs, flashBytes, totalMs }: Pass): void {
    const { sequence, drafter } = this.#parts;
    const figures = this.#figures;
    const accepted = tokens.length - 1;
    sequence.rewind(before + tokens.length);
    const outcome = { proposals, verified, accepted, tokens, draftMs, totalMs };
    drafter.control.add(outcome);
    drafter.retirement?.add(outcome);
    figures.passes++;
    if (verified === 0 && proposals.length > 0) figures.passesWithout++;
    figures.proposed += verified;
    figures.accepted += accepted;
    figures.tokens += tokens.length;
    figures.draftMs += draftMs;
    figures.flashBytes += flashBytes;
  }

  #rowOf(logits: Float32Array, row: number): Float32Array {
    return logits.subarray(row * this.#vocabSize, (row + 1) * this.#vocabSize);
  }

  get #vocabSize(): number {
    return this.#parts.sequence.runtime.model.manifest.spec.vocabSize;
  }
}
