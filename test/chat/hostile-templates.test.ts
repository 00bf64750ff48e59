/** Templates that would not end, or would take all memory, are refused soon and in little memory. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ChatMessage } from '../../src/chat/messages.ts';
import { ChatTemplate, TemplateError } from '../../src/chat/template.ts';
import { InputError } from '../../src/errors.ts';

const messages: readonly ChatMessage[] = [{ role: 'user', content: 'Hello' }];
const mebibyte = 2 ** 20;

function render(source: string): string {
  return new ChatTemplate(source, 'model/tokenizer_config.json').render(messages);
}

/** Twenty of these blocks make a million of one. */
const twenty = (block: string) => block.repeat(20);

const hostile: Readonly<Record<string, readonly [template: string, reason: RegExp]>> = {
  'a range of a billion numbers': ['{% for x in range(1000000000) %}{% endfor %}', /range of/],
  'loops in loops': [
    `${'{% for a in range(60000) %}'.repeat(4)}x${'{% endfor %}'.repeat(4)}`,
    /stopped after|steps|characters/,
  ],
  'a text that is doubled': [
    `{% set x = 'ab' %}${'{% set x = x + x %}'.repeat(60)}{{ x }}`,
    /more than \d+ characters/,
  ],
  'a text that is repeated': ["{{ 'x' * 2000000000 }}", /more than \d+ characters/],
  'a list that is doubled': [
    `{% set x = [1, 2] %}${'{% set x = x + x %}'.repeat(60)}{{ x|length }}`,
    /list of \d+ items|characters/,
  ],
  'lists that hold each other twice': [
    `{% set x = ['a'] %}${'{% set x = [x, x] %}'.repeat(60)}{{ x|tojson }}`,
    /more than \d+ characters/,
  ],
  'namespaces that hold each other twice': [
    `{% set a = namespace(v=['a']) %}${Array.from(
      { length: 40 },
      (_, i) =>
        `{% set n${i} = namespace() %}{% set n${i}.v = [${i === 0 ? 'a' : `n${i - 1}`}, ${i === 0 ? 'a' : `n${i - 1}`}] %}`,
    ).join('')}{{ n39 }}`,
    /more than \d+ (characters|levels)/,
  ],
  'a namespace in itself': ['{% set a = namespace() %}{% set a.a = a %}{{ a }}', /levels deep/],
  'joining with a long text': [
    `{% set x = 'x' * 1000000 %}{{ range(60000)|join(x) }}`,
    /more than \d+ characters/,
  ],
  'replacing by a long text': [
    `{% set x = 'x' * 1000000 %}{{ x.replace('x', x) }}`,
    /more than \d+ characters/,
  ],
  'replacing nothing by a long text': [
    `{% set x = 'x' * 1000000 %}{{ x|replace('', x) }}`,
    /more than \d+ characters/,
  ],
  'a method that is kept': [
    `{% set x = 'x' * 1000000 %}{% set f = x.replace %}{{ f('x', x) }}`,
    /without being called/,
  ],
  'a method by a computed name': [
    `{% set x = 'x' * 1000000 %}{{ x['rep' + 'lace']('x', x) }}`,
    /more than \d+ characters/,
  ],
  'a wide indentation': ["{{ 'a\nb'|indent(500000000) }}", /more than \d+ characters/],
  'a wide indentation of JSON': [
    '{{ messages|tojson(indent=400000000) }}',
    /more than \d+ characters/,
  ],
  'a text split into characters': [
    "{{ ('x ' * 1000000).split(' ')|length }}",
    /more than \d+ characters/,
  ],
  'a text as a list': ["{{ ('x' * 2000000)|list|length }}", /more than \d+ characters/],
  'much output': [
    `{% set x = 'x' * 2000000 %}{% for i in range(60000) %}{{ x }}{% endfor %}`,
    /more than \d+ characters|its result is too large/,
  ],
  'a macro that calls itself': [
    '{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}',
    /cannot be rendered/,
  ],
  'macros that call another twice': [
    `{% macro f0() %}x{% endmacro %}${Array.from(
      { length: 50 },
      (_, i) => `{% macro f${i + 1}() %}{{ f${i}() }}{{ f${i}() }}{% endmacro %}`,
    ).join('')}{{ f50() }}`,
    /stopped after|steps/,
  ],
  'parentheses in each other': [
    `{{ ${'('.repeat(50_000)}1${')'.repeat(50_000)} }}`,
    /nests too deeply/,
  ],
  'conditions in each other': [
    `${'{% if true %}'.repeat(9_000)}${'{% endif %}'.repeat(9_000)}`,
    /nests too deeply/,
  ],
  'a template of two megabytes': ['x'.repeat(2 * mebibyte), /the limit is \d+/],
  'a reason that is a megabyte long': [
    "{{ raise_exception('no \x1b[31m' ~ 'x' * 1000000) }}",
    /refuses this conversation: no \\x1b\[31m/,
  ],
  'a block without an end': ['{% for x in messages %}', /is not valid/],
  'a word that nobody knows': ["{% include '/etc/passwd' %}", /is not valid/],
  'a filter that nobody knows': ["{{ 'x'|attr('constructor') }}", /cannot be rendered/],
  'no template': [twenty('{{'), /is not valid/],
};

for (const [name, [template, reason]] of Object.entries(hostile)) {
  test(`${name}: refused`, () => {
    const before = process.memoryUsage.rss();
    const started = performance.now();
    assert.throws(
      () => render(template),
      (error) => {
        assert.ok(error instanceof InputError, String(error));
        assert.match(error.line, reason);
        assert.match(error.line, /tokenizer_config\.json/);
        return true;
      },
    );
    // Starved machines are given more time, as expressions of a tokenizer are.
    assert.ok(performance.now() - started < 70_000);
    const grown = process.memoryUsage.rss() - before;
    assert.ok(grown < 400 * mebibyte, `${Math.round(grown / mebibyte)} MiB more`);
  });
}

test('nothing of JavaScript is within reach', () => {
  const paths = ['constructor', '__proto__', 'prototype', 'toString', 'value', 'builtins'];
  for (const path of paths) {
    assert.equal(render(`{{ messages[0].${path} is defined }}`), 'False', path);
    assert.equal(render(`{{ messages.${path} is defined }}`), 'False', path);
    assert.equal(render(`{{ ${path} is defined }}`), 'False', path);
    assert.equal(render(`{{ 'x'['${path}'] is defined }}`), 'False', path);
  }
});

test('who is refused is told by whom', () => {
  const template = new ChatTemplate("{{ raise_exception('no system, please') }}", 'a.jinja');
  assert.throws(() => template.render(messages), {
    name: 'TemplateError',
    line: 'a.jinja: the chat template refuses this conversation: no system, please',
  });
  assert.throws(() => template.render([]), { name: 'InputError', message: /no messages/ });
  assert.ok(new TemplateError('x') instanceof InputError);
});
