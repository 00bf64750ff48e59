/** A draft that knows the text and proposes its next token with a given probability, else a wrong one. */

import type { LoadedModel } from '../src/engine/loaded-model.ts';
import { Random } from '../src/engine/random.ts';
import { DraftControl } from '../src/engine/speculation/control.ts';
import type { Draft, Drafter } from '../src/engine/speculation/draft.ts';

export class RightDrafter implements Drafter {
  readonly control: DraftControl;
  readonly flashBytes = 0;
  readonly #text: readonly number[];
  readonly #right: number;
  readonly #vocabSize: number;
  readonly #random = new Random(3);

  /**
   * @param text prompt and what follows it
   * @param right the probability of the right token, independent for each proposal
   * @param most tokens proposed for a pass, always this many
   */
  constructor(runtime: LoadedModel, text: readonly number[], right: number, most: number) {
    const { passTimes, model } = runtime;
    const options = { passTimes, levels: [right], most, free: true, always: true };
    this.control = new DraftControl(options);
    this.#text = text;
    this.#right = right;
    this.#vocabSize = model.manifest.spec.vocabSize;
  }

  begin(): Draft {
    let place = 0;
    return {
      prepare: async () => {},
      start: (ids) => {
        place = ids.length;
      },
      next: async () => {
        const token = this.#text[place++];
        if (token === undefined) return null;
        const isRight = this.#random.next() < this.#right;
        return { token: isRight ? token : (token + 7) % this.#vocabSize, level: 0 };
      },
    };
  }
}
