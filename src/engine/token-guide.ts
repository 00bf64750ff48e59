/** Who has a say in which token is drawn next: bans, biases, penalties; or only looks at what is likely. */
export interface TokenGuide {
  /**
   * Called before a token is drawn with the logits (vocab) of all tokens, which it may change in place;
   * -Infinity bans one. One token at least must be left.
   */
  prepare(logits: Float32Array): void | Promise<void>;
  /** Called with the token that was drawn, what ends a text included. */
  drawn(token: number): void;
}
