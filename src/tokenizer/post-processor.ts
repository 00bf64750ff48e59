/** The last step of a tokenizer: adds tokens around a text. */

import type { Component } from './tokenizer-json.ts';

export interface SpecialToken {
  readonly content: string;
  readonly id: number;
}

/** Puts `before` before a text and `after` after it; null if there is neither. */
export function surround(
  before: SpecialToken | undefined,
  after: SpecialToken | undefined,
): Component | null {
  if (before === undefined && after === undefined) return null;
  const special = (token: SpecialToken | undefined) =>
    token === undefined ? [] : [{ SpecialToken: { id: token.content, type_id: 0 } }];
  const around = (name: 'A' | 'B') => [
    ...special(before),
    { Sequence: { id: name, type_id: 0 } },
    ...special(after),
  ];
  const tokens = [before, after].filter((token) => token !== undefined);
  return {
    type: 'TemplateProcessing',
    single: around('A'),
    pair: [...around('A'), ...around('B')],
    special_tokens: Object.fromEntries(
      tokens.map(({ content, id }) => [content, { id: content, ids: [id], tokens: [content] }]),
    ),
  };
}
