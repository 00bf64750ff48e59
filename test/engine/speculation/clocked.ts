/** A draft and its model by a clock that is told, not measured. */

import { PassTimes } from '../../../src/engine/pass-times.ts';
import { DraftControl, type Outcome } from '../../../src/engine/speculation/control.ts';
import type { Proposal } from '../../../src/engine/speculation/proposal.ts';
import { Dice } from '../../support/random.ts';

export interface World {
  /** Milliseconds of a pass over so many rows, by the number of the pass, and of proposing a token. */
  readonly passMs: (rows: number, pass: number) => number;
  readonly draftMs?: number;
  /** How often a proposal is right, by the number of the pass. */
  readonly right: (pass: number) => number;
  readonly most?: number;
  readonly sequences?: number;
  /** How much passes vary. */
  readonly noise?: number;
}

interface Made {
  readonly tokens: number;
  readonly ms: number;
  readonly proposed: number;
}

export interface SimulateOptions {
  readonly seed?: number;
  /** The clock's measurements; its own unless given. */
  readonly passTimes?: PassTimes;
  /** Called after each pass; false ends the text. */
  readonly after?: (outcome: Outcome) => boolean;
}

/** Generates so many tokens; what the last half of the passes proposed, too. */
export function simulate(
  world: World,
  wanted: number,
  { seed = 1, passTimes = new PassTimes(), after = () => true }: SimulateOptions = {},
): Made & { readonly late: number } {
  const { passMs, draftMs = 0, right, most = 8, sequences = 1, noise = 0.05 } = world;
  const dice = new Dice(seed);
  const levels = [0.6];
  const control = new DraftControl({ passTimes, levels, most, free: draftMs === 0 });
  let [tokens, ms, proposed] = [0, 0, 0];
  const lengths: number[] = [];
  while (tokens < wanted) {
    const chance = right(lengths.length);
    const proposals: Proposal[] = [];
    const chosen: number[] = [];
    while (control.goesOn(proposals, most)) {
      proposals.push({ token: 1, level: 0 });
      chosen.push(dice.chance(chance) ? 1 : 0);
    }
    const verified = control.worth(proposals);
    const rows = sequences + verified;
    const pass = passMs(rows, lengths.length) * (1 + noise * (2 * dice.next() - 1));
    passTimes.add(rows, sequences, pass);
    const wrong = chosen.indexOf(0);
    const accepted = Math.min(verified, wrong < 0 ? verified : wrong);
    const own = [...chosen.slice(0, accepted), ...chosen.slice(accepted, accepted + 1)];
    const made = Array.from({ length: accepted + 1 }, (_, i) => own[i] ?? 0);
    const spent = draftMs * proposals.length;
    const totalMs = pass + spent;
    const outcome = { proposals, verified, accepted, tokens: made, draftMs: spent, totalMs };
    control.add(outcome);
    tokens += accepted + 1;
    ms += totalMs;
    proposed += verified;
    lengths.push(verified);
    if (!after(outcome)) break;
  }
  const half = lengths.slice(lengths.length / 2);
  const late = half.reduce((sum, length) => sum + length, 0) / half.length;
  return { tokens, ms, proposed, late };
}
