import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseNonFiniteJson, toJson } from '../src/json.ts';

test('numbers need not be finite', () => {
  assert.deepEqual(parseNonFiniteJson('[NaN, Infinity, -Infinity, 1e999]'), [
    Number.NaN,
    Number.POSITIVE_INFINITY,
    Number.NEGATIVE_INFINITY,
    Number.POSITIVE_INFINITY,
  ]);
  assert.deepEqual(parseNonFiniteJson(' NaN '), Number.NaN);
  assert.deepEqual(parseNonFiniteJson('{"a": {"b": [[NaN]]}, "c": 1}'), {
    a: { b: [[Number.NaN]] },
    c: 1,
  });
});

test('within strings their names are text, and so is what stands for NaN', () => {
  const text = '{"NaN": "NaN", "x": "\\" Infinity", "y": NaN, "\ue000": "\ue001\\uE002"}';
  assert.deepEqual(parseNonFiniteJson(text), {
    NaN: 'NaN',
    x: '" Infinity',
    y: Number.NaN,
    '\ue000': '\ue001\ue002',
  });
});

test('a key named __proto__ is one like others', () => {
  const value = parseNonFiniteJson('{"__proto__": NaN, "a": {"__proto__": {"b": NaN}}}');
  assert.deepEqual(Object.getOwnPropertyDescriptor(value, '__proto__')?.value, Number.NaN);
  assert.equal(Object.getPrototypeOf(value), Object.prototype);
});

test('what is no JSON even so is refused, with its position', () => {
  for (const [text, position] of [
    ['{"a": NaN,}', 10],
    ['[NaN, nan]', 7],
    ['[Infinity, -Infinity, +Infinity]', 22],
    ['[Infinity}', 9],
  ] as const) {
    assert.throws(
      () => parseNonFiniteJson(text),
      (error) => {
        assert.ok(error instanceof SyntaxError);
        const told = /at position (\d+)/.exec(error.message)?.[1];
        // Of some mistakes, Node tells the text around them instead.
        return told === undefined || Number(told) === position;
      },
    );
  }
  assert.throws(() => parseNonFiniteJson('[-NaN]'), SyntaxError);
  assert.throws(() => parseNonFiniteJson('{"a": nope}'), SyntaxError);
});

test('they are shown by their names', () => {
  assert.equal(toJson([Number.NaN, -1 / 0, 2n, 1]), '["NaN","-Infinity","2",1]');
});
