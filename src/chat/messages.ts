/** Messages of a conversation, in the form that OpenAI's API and chat templates have them. */

/** A part of a message: a text, or what a template may know besides. */
export interface ContentPart {
  readonly type: string;
  readonly text?: string;
  readonly [key: string]: unknown;
}

/** A call of a function that the model asks for. */
export interface ToolCall {
  readonly type?: 'function';
  readonly id?: string;
  readonly function: {
    readonly name: string;
    /** An object, or its JSON: what the template expects. */
    readonly arguments: Readonly<Record<string, unknown>> | string;
  };
}

/** A function that the model may call. */
export interface ChatTool {
  readonly type: 'function';
  readonly function: {
    readonly name: string;
    readonly description?: string;
    /** A JSON schema. */
    readonly parameters?: Readonly<Record<string, unknown>>;
    readonly [key: string]: unknown;
  };
}

export interface ChatMessage {
  /** `system`, `user`, `assistant`, `tool`, or another one that the template knows. */
  readonly role: string;
  readonly content?: string | readonly ContentPart[] | null | undefined;
  readonly tool_calls?: readonly ToolCall[] | null | undefined;
  /** What was thought before the answer; `thinking` and `reasoning` are other names of it. */
  readonly reasoning_content?: string | null | undefined;
  /** More that a template may read, such as `name` and `tool_call_id`. */
  readonly [key: string]: unknown;
}

const reasoningFields = ['reasoning_content', 'thinking', 'reasoning'];

/**
 * Messages as transformers hands them to templates: without fields that are null, and with what was
 * thought under the names that templates look for.
 */
export function forTemplates(messages: readonly ChatMessage[]): readonly ChatMessage[] {
  return messages.map((message) => {
    const fields = Object.entries(message).filter(
      ([, value]) => value !== null && value !== undefined,
    );
    const given = Object.fromEntries(fields) as ChatMessage;
    const field = reasoningFields.find((name) => given[name] !== undefined);
    if (field === undefined) return given;
    const reasoning = given[field] as string;
    return { thinking: reasoning, ...given, reasoning_content: reasoning };
  });
}
