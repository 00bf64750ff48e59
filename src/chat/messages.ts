/** Messages of a conversation, in the form of OpenAI's API and of chat templates. */

/** A part of a message: a text, or another part that a template supports. */
export interface ContentPart {
  readonly type: string;
  readonly text?: string;
  readonly [key: string]: unknown;
}

/** A function call by the model. */
export interface ToolCall {
  readonly type?: 'function';
  readonly id?: string;
  readonly function: {
    readonly name: string;
    /** An object or its JSON, whichever the template expects. */
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
  /** `system`, `user`, `assistant`, `tool`, or another role that the template supports. */
  readonly role: string;
  readonly content?: string | readonly ContentPart[] | null | undefined;
  readonly tool_calls?: readonly ToolCall[] | null | undefined;
  /** The reasoning before the answer; some templates call it `thinking` or `reasoning`. */
  readonly reasoning_content?: string | null | undefined;
  /** Further fields that a template may read, such as `name` and `tool_call_id`. */
  readonly [key: string]: unknown;
}

const reasoningFields = ['reasoning_content', 'thinking', 'reasoning'];

/**
 * Messages as transformers passes them to templates: without fields that are null, and with the reasoning
 * under all names that templates use.
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
