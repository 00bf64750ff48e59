/** Token counts of an answer, in the API's form. */

export interface Usage {
  readonly promptTokens: number;
  /** Generated tokens of all answers to a prompt. */
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

/** The creation time of an answer in the API's form: whole seconds. */
export function createdNow(): number {
  return Math.floor(Date.now() / 1000);
}
