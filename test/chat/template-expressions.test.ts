/** What templates compute with, one thing at a time, as Jinja2 and transformers have it. */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { ChatTemplate, TemplateError } from '../../src/chat/template.ts';
import { fixture } from '../support/fixtures.ts';

interface Expressions {
  readonly variables: Readonly<Record<string, unknown>>;
  /** The text is null where Jinja2 fails. */
  readonly expressions: readonly { readonly template: string; readonly text: string | null }[];
}

const { variables, expressions } = JSON.parse(
  readFileSync(fixture('templates/expressions.json'), 'utf8'),
) as Expressions;
const now = new Date(2026, 2, 7, 14, 5, 9);

for (const { template, text } of expressions) {
  test(`${JSON.stringify(template)} is as in Python`, () => {
    const messages = [{ role: 'user', content: '' }];
    const render = () => new ChatTemplate(template, 'x.jinja').render(messages, { variables, now });
    if (text === null) assert.throws(render, TemplateError);
    else assert.equal(render(), text);
  });
}
