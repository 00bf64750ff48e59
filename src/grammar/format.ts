/** The required form of an answer, from which a grammar is made. */

/** A JSON schema with the keywords that `schema-check.ts` supports. */
export type JsonSchema = boolean | Readonly<Record<string, unknown>>;

export type GrammarFormat =
  /** Rules of a grammar, of which the first is `root`. */
  | { readonly type: 'grammar'; readonly grammar: string }
  /** Exactly this text. */
  | { readonly type: 'const_string'; readonly value: string }
  /** Any text, up to the next format. */
  | { readonly type: 'any_text' }
  /** Formats one after the other. */
  | { readonly type: 'sequence'; readonly elements: readonly GrammarFormat[] }
  /** One of several formats. */
  | { readonly type: 'or'; readonly elements: readonly GrammarFormat[] }
  | TagFormat
  /** One or more tags, separated by a text. */
  | {
      readonly type: 'tags_with_separator';
      readonly tags: readonly TagFormat[];
      readonly separator: string;
      readonly at_least_one: true;
      readonly stop_after_first: boolean;
    };

/** A format between a beginning and an end. */
export interface TagFormat {
  readonly type: 'tag';
  readonly begin: string;
  readonly content: GrammarFormat;
  readonly end: string;
}
