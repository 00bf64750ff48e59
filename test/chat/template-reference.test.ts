/** Templates of published models, rendered as transformers renders them (fixtures/templates). */

import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { ChatMessage, ChatTool } from '../../src/chat/messages.ts';
import { ChatTemplate, type RenderOptions } from '../../src/chat/template.ts';
import { InputError } from '../../src/errors.ts';

interface Case {
  readonly name: string;
  readonly messages: readonly ChatMessage[];
  readonly tools?: readonly ChatTool[];
  readonly documents?: readonly Readonly<Record<string, unknown>>[];
  readonly options?: Readonly<Record<string, unknown>>;
}

/** By template, then by case; null where transformers refuses the conversation. */
type Rendered = Readonly<Record<string, Readonly<Record<string, string | null>>>>;

const folder =
  process.env.FLASHLLM_TEMPLATES ??
  fileURLToPath(new URL('../../fixtures/templates/', import.meta.url));
const read = (dir: string, name: string): unknown =>
  JSON.parse(readFileSync(join(dir, name), 'utf8'));
const cases = read(
  fileURLToPath(new URL('../../fixtures/templates/', import.meta.url)),
  'conversations.json',
) as readonly Case[];
const rendered = read(folder, 'rendered.json') as Rendered;

/** What make.py gives its tokenizer, and the time that it tells. */
const specialTokens = new Map([
  ['bos_token', '<s>'],
  ['eos_token', '</s>'],
  ['unk_token', '<unk>'],
  ['pad_token', '<pad>'],
]);
const now = new Date(2026, 2, 7, 14, 5, 9);

function optionsOf({ tools, documents, options = {} }: Case): RenderOptions {
  const { add_generation_prompt = true, continue_final_message = false, ...variables } = options;
  return {
    tools,
    documents,
    addGenerationPrompt: add_generation_prompt as boolean,
    continueFinalMessage: continue_final_message as boolean,
    variables,
    now,
  };
}

test('there is a rendered text of every template and conversation', () => {
  const templates = readdirSync(folder).filter((name) => name.endsWith('.jinja'));
  assert.deepEqual(
    templates.map((name) => name.replace('.jinja', '')).sort(),
    Object.keys(rendered).sort(),
  );
  for (const texts of Object.values(rendered)) {
    assert.deepEqual(
      Object.keys(texts),
      cases.map(({ name }) => name),
    );
  }
});

for (const [name, texts] of Object.entries(rendered)) {
  test(`${name} renders as transformers renders it`, () => {
    const file = join(folder, `${name}.jinja`);
    const template = new ChatTemplate(readFileSync(file, 'utf8'), file, specialTokens);
    const different: string[] = [];
    for (const one of cases) {
      const expected = texts[one.name];
      let actual: string | null;
      try {
        actual = template.render(one.messages, optionsOf(one));
      } catch (error) {
        if (!(error instanceof InputError)) throw error;
        actual = null;
      }
      if (actual !== expected)
        different.push(`${one.name}:\n${JSON.stringify(actual)}\n${JSON.stringify(expected)}`);
    }
    assert.deepEqual(different, []);
  });
}
