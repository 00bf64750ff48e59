/** Influences which token is drawn next, by bans, biases or penalties, or only observes the logits. */
export interface TokenGuide {
  /**
   * Called before a token is drawn with the logits (vocab) of all tokens, which it may change in place;
   * -Infinity bans a token. At least one token must be left.
   */
  prepare(logits: Float32Array): void | Promise<void>;
  /** Called with the token that was drawn, including one that ends a text. */
  drawn(token: number): void;
}
