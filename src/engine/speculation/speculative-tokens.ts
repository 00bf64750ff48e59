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

import { drawToken, type SourceParts, type TokenSource } from '../token-source.ts';
import type { Draft, Drafter } from './draft.ts';
import { inTurn, type Proposal } from './proposal.ts';

export interface SpeculativeParts extends SourceParts {
  readonly drafter: Drafter;
  readonly draft: Draft;
  /** Ids that end a text: nothing is proposed from them on. */
  readonly endIds: ReadonlySet<number>;
}

/** A pass of which tokens are chosen. */
interface Pass {
  /** Positions in the sequence before it. */
  readonly before: number;
  /** All that were made; of these, the `verified` first have rows. */
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
  /** Chosen, and not asked for yet. */
  #ahead: number[] = [];
  /** With a guide: a pass that is not used up, and its logits (verified + 1, vocab). */
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

  get figures() {
    return this.#figures;
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

  /** A pass over the last id and what is proposed to follow it; chooses tokens, or keeps their logits. */
  async #pass(ids: readonly number[], most: number): Promise<void> {
    const { sequence, sampler, drafter, guide, signal } = this.#parts;
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
    // The plan has room for the logits that sequences keep, were all of them guided.
    const share = guide === undefined ? control.most : Math.floor(control.most / sequences);
    const proposals: Proposal[] = [];
    const most = Math.min(room, share);
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

  /** Chooses from the next row that is kept, when all tokens before it are known to the guide. */
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
    // Alone, nobody overwrites what a pass leaves.
    if (this.#parts.sequence.runtime.plan.kvCache.sequences === 1) return logits;
    if (this.#buffer === null || this.#buffer.length < logits.length) {
      this.#buffer = new Float32Array(logits.length);
    }
    this.#buffer.set(logits);
    return this.#buffer.subarray(0, logits.length);
  }

  /** Forgets the rows behind what was chosen, and learns from the pass. */
  #settle({ before, proposals, verified, tokens, draftMs, flashBytes, totalMs }: Pass): void {
    const { sequence, drafter } = this.#parts;
    const figures = this.#figures;
    const accepted = tokens.length - 1;
    sequence.rewind(before + tokens.length);
    drafter.control.add({ proposals, verified, accepted, tokens, draftMs, totalMs });
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
