/** Which small files of a checkpoint a download takes. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { selectFiles } from '../../src/hub/selection.ts';

function namesOf(paths: readonly string[]): readonly string[] {
  const files = paths.map((path) => ({
    path,
    bytes: 1,
    hash: { kind: 'sha256', hex: '' } as never,
  }));
  const repository = { id: 'a/b', revision: '', files };
  const { small } = selectFiles(repository, { id: 'a/b', name: 'b', choice: null });
  return small.map(({ name }) => name);
}

const always = ['config.json', 'model.safetensors'];

test('a SentencePiece model comes along where no tokenizer.json makes it needless', () => {
  assert.deepEqual(namesOf([...always, 'tokenizer.model']), ['config.json', 'tokenizer.model']);
  const json = namesOf([...always, 'tokenizer.json', 'tokenizer.model']);
  assert.deepEqual(json, ['config.json', 'tokenizer.json']);
  const bpe = namesOf([...always, 'merges.txt', 'tokenizer.model', 'vocab.json']);
  assert.deepEqual(bpe, ['config.json', 'vocab.json', 'merges.txt']);
  const half = namesOf([...always, 'tokenizer.model', 'vocab.json']);
  assert.deepEqual(half, ['config.json', 'vocab.json', 'tokenizer.model']);
});

test('chat templates with names come along, under names without directories', () => {
  const folder = 'additional_chat_templates';
  const paths = ['rag.jinja', 'tool_use.jinja', 'README.md', 'deep/x.jinja'];
  assert.deepEqual(namesOf([...paths.map((name) => `${folder}/${name}`), ...always]), [
    'config.json',
    'chat_template.rag.jinja',
    'chat_template.tool_use.jinja',
  ]);
});
