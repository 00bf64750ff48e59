/** What an answer must look like: the shapes of which a grammar is made. */

/** A JSON schema, of the keywords that `schema-check.ts` knows. */
export type JsonSchema = boolean | Readonly<Record<string, unknown>>;

export type GrammarFormat =
  /** As rules want it, of which the first is `root`. */
  | { readonly type: 'grammar'; readonly grammar: string }
  /** Exactly this text. */
  | { readonly type: 'const_string'; readonly value: string }
  /** Any text, up to what follows it. */
  | { readonly type: 'any_text' }
  /** One after the other. */
  | { readonly type: 'sequence'; readonly elements: readonly GrammarFormat[] }
  /** One of them. */
  | { readonly type: 'or'; readonly elements: readonly GrammarFormat[] }
  | TagFormat
  /** Some tags, one at least, with a text between them. */
  | {
      readonly type: 'tags_with_separator';
      readonly tags: readonly TagFormat[];
      readonly separator: string;
      readonly at_least_one: true;
      readonly stop_after_first: boolean;
    };

/** Something between a beginning and an end. */
export interface TagFormat {
  readonly type: 'tag';
  readonly begin: string;
  readonly content: GrammarFormat;
  readonly end: string;
}
