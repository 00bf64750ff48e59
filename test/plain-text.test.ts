import assert from 'node:assert/strict';
import { describe, it, test } from 'node:test';
import { InputError, longestLine } from '../src/errors.ts';
import { cutMiddle, harmless, harmlessJson, oneLine, shown } from '../src/plain-text.ts';

const everyControl = Array.from({ length: 0xa0 }, (_, code) => String.fromCharCode(code))
  .filter((character) => /\p{Cc}/u.test(character))
  .join('');
const bidi = '\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069';

describe('text of several lines', () => {
  it('keeps tabs and newlines, and writes out what a terminal would act on', () => {
    assert.equal(everyControl.length, 65);
    assert.deepEqual(harmless(everyControl).match(/\p{Cc}/gu), ['\t', '\n']);
    assert.equal(
      harmless('\x1b]0;title\x07 \x1b[2J\x9b2J\x7f'),
      '\\x1b]0;title\\x07 \\x1b[2J\\x9b2J\\x7f',
    );
    assert.equal(harmless('one\r\ntwo\rthree\tfour'), 'one\ntwothree\tfour');
    const plain = 'Größe 漢字 مرحبا 👩‍👩‍👧 “quoted”';
    assert.equal(harmless(plain), plain);
  });

  it('is the same however it is cut', () => {
    const text = 'a\x1b[31mb\x9b0mc\r\nd\x1b]8;;http://x\x1b\\e';
    assert.equal([...text].map(harmless).join(''), harmless(text));
  });
});

test('a line has no control characters, separators or marks of direction', () => {
  const line = oneLine(`${everyControl}\u2028\u2029${bidi}\ufeff\ud800!`);
  assert.match(line, /^[\x20-\x7e]+$/);
  assert.ok(
    line.endsWith(
      '\\u2028\\u2029\\u061c\\u200e\\u200f\\u202a\\u202b\\u202c\\u202d\\u202e\\u2066\\u2067\\u2068\\u2069\\ufeff\\ud800!',
    ),
  );
  assert.ok(line.includes('\\t\\n') && line.includes('\\r'));
  assert.equal(oneLine('naïve 👍 עברית'), 'naïve 👍 עברית');
});

test('what is too long is cut in the middle, never through a character', () => {
  assert.equal(cutMiddle('abcdefghij', 10), 'abcdefghij');
  assert.equal(cutMiddle('abcdefghij', 5), 'ab…ij');
  assert.equal(cutMiddle('abcdefghij', 1), '…');
  for (let longest = 1; longest < 20; longest++) {
    const cut = cutMiddle('👍'.repeat(20), longest);
    assert.ok(cut.length <= longest && /^(👍)*…(👍)*$/u.test(cut), cut);
  }
  assert.ok(shown('\x1b'.repeat(500), 100).length <= 100);
});

test('JSON stays the same value and becomes harmless', () => {
  const value = { text: `${everyControl}${bidi}\u2028`, '\x9bkey': '漢' };
  const json = harmlessJson(JSON.stringify(value));
  assert.doesNotMatch(json, /[\p{Cc}\u2028\u202e]/u);
  assert.deepEqual(JSON.parse(json), value);
});

describe('an error', () => {
  const control = /[\p{Cc}\u2028\u2029\u202e]/u;

  it('is one harmless line of bounded length, whatever it quotes', () => {
    const long = `\x1b[31m${'x\n'.repeat(5000)}\u202eend`;
    const error = new InputError(
      `says ${long}`,
      { file: `/${long}`, tensor: long, offset: 7 },
      'Do that',
    );
    assert.ok(error.line.length <= longestLine && longestLine <= 1000, `${error.line.length}`);
    assert.doesNotMatch(error.line, control);
    assert.match(error.line, /, byte 7: says .*…/);
    assert.ok(error.line.endsWith('. Do that.'));
    assert.doesNotMatch(error.message, control);
    assert.equal(error.place.tensor, long, 'a program gets the name as it is');
  });

  it('is whole where it is not too long', () => {
    const error = new InputError('is wrong', { file: 'a b', tensor: 't' }, 'Mend it');
    assert.equal(error.line, 'a b, tensor t: is wrong. Mend it.');
    const path = `/${'directory/'.repeat(40)}file`;
    assert.equal(new InputError('is wrong', { file: path }).line, `${path}: is wrong`);
  });
});
