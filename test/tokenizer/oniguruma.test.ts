/** What of Oniguruma's regular expressions has no equal is refused by name; the rest is in variants. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type Behavior, cut } from '../../src/tokenizer/pipeline/split.ts';
import { translate } from '../../src/tokenizer/regex/oniguruma.ts';
import { Untranslatable } from '../../src/tokenizer/regex/scan.ts';

function pieces(pattern: string, text: string, behavior: Behavior = 'Isolated'): string[] {
  const spans = [...cut(text, translate(pattern).expression, behavior)];
  return spans.map(({ start, end }) => text.slice(start, end));
}

describe('refused', () => {
  const refused: readonly (readonly [pattern: string, what: RegExp])[] = [
    ['\\G', /\\G/],
    ['a\\Kb', /\\K/],
    ['\\R', /\\R/],
    ['\\X', /\\X/],
    ['(a)\\1', /\\1/],
    ['(?<n>a)\\k<n>', /\\k/],
    ['\\p{InBasicLatin}', /InBasicLatin/],
    ['\\p{script=Han}', /script=Han/],
    ['(?x) a', /options \(\?x/],
    ['(?W:\\w)', /options \(\?W/],
    ['a(?i)b', /group \(\?i/],
    ['(?i:ss)', /"ss" where case is ignored/],
    ['(?i:\\p{Lu})', /\\p\{Lu\} where case is ignored/],
    ['(?i:é)', /beyond ASCII where case is ignored/],
    ['(?:a|)+', /repetition of what may match nothing/],
    ['[[:nothing:]]', /unknown "\[:\.\.\.:\]"/],
    ['[]a]', /begins with "\]"/],
    ['[a-\\d]', /ends with a set/],
    ['[\\d-x]', /neither a range/],
    ['[^a[^b]]', /negated class within a negated/],
    ['(a', /without its "\)"/],
    ['a)', /without its "\("/],
    ['(?~ab)', /group/],
  ];
  for (const [pattern, what] of refused) {
    test(pattern, () => {
      assert.throws(
        () => translate(pattern),
        (error) => error instanceof Untranslatable && what.test(error.message),
      );
    });
  }
});

test('characters beyond the first 65,536 are one, at anchors and in negated classes', () => {
  assert.deepEqual(pieces('[^a]{1,2}', 'x\u{1f600}a\u{1f600}\u{1f600}'), [
    'x\u{1f600}',
    'a',
    '\u{1f600}\u{1f600}',
  ]);
  assert.deepEqual(pieces('(?!a)', '\u{1f600}a'), ['', '\u{1f600}a', '']);
});

test('an empty match right behind another does not count', () => {
  assert.deepEqual(
    pieces('x*', 'axxb').filter((piece) => piece !== ''),
    ['a', 'xx', 'b'],
  );
});

test('nothing is one of the ways in which an optional part matches', () => {
  // The group prefers nothing, so that the newline is left.
  assert.deepEqual(pieces('a(?:\\s*?)?', 'a\n'), ['a', '\n']);
});
