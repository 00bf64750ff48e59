/** The tokens of a model and their ids. */
export class Vocabulary {
  readonly #ids = new Map<string, number>();
  readonly #tokens: string[] = [];
  #count = 0;

  /** @param tokens pairs of token and id; ids may have holes, a later mention of a token counts. */
  constructor(tokens: Iterable<readonly [token: string, id: number]>) {
    for (const [token, id] of tokens) {
      this.#ids.set(token, id);
      this.#tokens[id] = token;
      this.#count++;
    }
  }

  /** How many tokens there are, without holes. */
  get count(): number {
    return this.#count;
  }

  /** One more than the largest id. */
  get size(): number {
    return this.#tokens.length;
  }

  idOf(token: string): number | undefined {
    return this.#ids.get(token);
  }

  tokenOf(id: number): string | undefined {
    return this.#tokens[id];
  }
}

/** The pairs of an object, one at a time. */
export function* pairsOf(
  vocab: Readonly<Record<string, number>>,
): Generator<readonly [token: string, id: number]> {
  for (const token in vocab) yield [token, vocab[token] as number];
}

/** The tokens of the 256 bytes, `<0x00>` to `<0xFF>`, where the vocabulary has them. */
export function byteTokens(vocabulary: Vocabulary): readonly (number | undefined)[] {
  return Array.from({ length: 256 }, (_, byte) =>
    vocabulary.idOf(`<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`),
  );
}
