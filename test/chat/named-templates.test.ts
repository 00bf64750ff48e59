/** Chat templates of a model: the plain one, and those beside it with names. */

import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { type ChatTemplates, templatesIfAny } from '../../src/chat/chat-templates.ts';
import { chosenTemplates } from '../../src/cli/run.ts';
import { readSideFiles } from '../../src/convert/side-files.ts';
import type { Model } from '../../src/engine/model.ts';
import { isSideFile, storedTemplateName } from '../../src/flash/manifest.ts';
import type { ModelSpec } from '../../src/models/spec.ts';
import { refusal } from '../checkpoint/helpers.ts';
import { directoryWith, readFixture } from '../tokenizer/support.ts';

/** What of a model says which templates it has, of a directory with `files`. */
function modelOf(dir: string, files: readonly string[]): Model {
  const manifest = { files: Object.fromEntries(files.map((name) => [name, {}])) };
  return { files: { dir, manifest }, tokenizer: { roles: new Map() } } as unknown as Model;
}

async function chosen(templates: ChatTemplates, withTools: boolean): Promise<string> {
  return templates.choose(withTools).render([{ role: 'user', content: 'x' }], {});
}

test('templates with names stand beside the plain one, and are chosen by name', async (t) => {
  const files = {
    'chat_template.jinja': 'plain',
    'chat_template.tool_use.jinja': 'tools',
    'chat_template.rag.jinja': 'rag',
    // Files of templates come first, as they do for transformers.
    'tokenizer_config.json': { chat_template: [{ name: 'other', template: 'other' }] },
    'given.jinja': 'given',
  };
  const dir = await directoryWith(t, files);
  const names = Object.keys(files).filter((name) => name !== 'given.jinja');
  const model = modelOf(dir, names);
  const templates = await chosenTemplates(model, undefined);
  assert.equal(await chosen(templates, false), 'plain');
  assert.equal(await chosen(templates, true), 'tools');
  const rag = await chosenTemplates(model, 'rag');
  assert.equal(await chosen(rag, false), 'rag');
  assert.equal(await chosen(rag, true), 'rag');
  const given = await chosenTemplates(model, join(dir, 'given.jinja'));
  assert.equal(await chosen(given, true), 'given');
  await assert.rejects(chosenTemplates(model, 'other'), refusal(/other: cannot read/));
});

test('templates with names alone have no default, unless one is called so', async (t) => {
  const dir = await directoryWith(t, {
    'chat_template.rag.jinja': 'rag',
    'chat_template.tool_use.jinja': 'tools',
  });
  const model = modelOf(dir, ['chat_template.tool_use.jinja', 'chat_template.rag.jinja']);
  const templates = await templatesIfAny(model);
  assert.ok(templates !== null);
  assert.equal(await chosen(templates, true), 'tools');
  assert.throws(
    () => templates.choose(false),
    refusal(/called tool_use, rag, and no default.*Name one with --template/s),
  );
  const both = { 'chat_template.default.jinja': 'named', 'chat_template.jinja': 'plain' };
  const other = modelOf(await directoryWith(t, both), Object.keys(both));
  assert.equal(await chosen(await chosenTemplates(other, undefined), false), 'named');
});

test('a checkpoint has them in a directory, a download beside the other files', async (t) => {
  const dir = await directoryWith(t, {
    'tokenizer.json': JSON.parse(await readFixture('tokenizers', 'phi', 'tokenizer.json')),
    'chat_template.jinja': 'plain',
    'chat_template.down.jinja': 'loaded',
  });
  const folder = join(dir, 'additional_chat_templates');
  await mkdir(folder);
  await writeFile(join(folder, 'tool_use.jinja'), 'tools');
  await writeFile(join(folder, 'notes.txt'), 'no template');
  await writeFile(join(folder, 'a b.jinja'), 'no name');
  const { files } = await readSideFiles(dir, {
    eosIds: [],
    vocabSize: 500,
  } as unknown as ModelSpec);
  const named = [...files.keys()].filter((name) => name.startsWith('chat_template.'));
  assert.deepEqual(named, [
    'chat_template.jinja',
    'chat_template.down.jinja',
    'chat_template.tool_use.jinja',
  ]);
  assert.equal(Buffer.from(files.get('chat_template.tool_use.jinja') ?? []).toString(), 'tools');
});

test('no other name is that of a template', () => {
  const kept = ['tool_use', 'rag-2', 'x'.repeat(64)];
  for (const name of kept) {
    const stored = storedTemplateName(`${name}.jinja`);
    assert.equal(stored, `chat_template.${name}.jinja`);
    assert.ok(isSideFile(stored));
  }
  const others = [
    '../x.jinja',
    'a/b.jinja',
    '.jinja',
    'a.txt',
    'a.b.jinja',
    `${'x'.repeat(65)}.jinja`,
  ];
  for (const name of others) assert.equal(storedTemplateName(name), null, name);
  for (const name of ['chat_template..jinja', 'chat_template.a/b.jinja', 'x.jinja']) {
    assert.ok(!isSideFile(name), name);
  }
});
