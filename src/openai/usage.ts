/** What an answer cost, and how objects of the API say it. */

export interface Usage {
  readonly promptTokens: number;
  /** Generated, of all answers to a prompt. */
  readonly tokens: number;
}

/** The value of `usage`. */
export function usageObject({ promptTokens, tokens }: Usage): Readonly<Record<string, unknown>> {
  return {
    prompt_tokens: promptTokens,
    completion_tokens: tokens,
    total_tokens: promptTokens + tokens,
  };
}

/** The time of an answer as the API has it, in seconds. */
export function createdNow(): number {
  return Math.floor(Date.now() / 1000);
}
