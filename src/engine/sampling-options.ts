/** How the next token is drawn. */

export interface SamplingOptions {
  /** 0 takes the most likely token. */
  readonly temperature: number;
  /** Keep this many of the most likely tokens; 0 keeps all. */
  readonly topK: number;
  /** Keep the most likely tokens that together reach this probability; 1 keeps all. */
  readonly topP: number;
  /** Drop tokens less likely than this times the most likely one; 0 keeps all. */
  readonly minP: number;
  /** Above 1: tokens of the context become less likely. 1 does nothing. */
  readonly repetitionPenalty: number;
  readonly seed: number;
}
